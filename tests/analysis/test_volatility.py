"""The error of the forecast volatility is what it claims to be, on the sample market, whose truth is known."""

import numpy as np
import pytest

from bq.analysis import panel, volatility
from bq.market import sample_paths
from bq.market.sample import SEED, SampleMarket
from bq.market.source import Snapshot

NAMES = tuple(f"SIM{number:03d}" for number in range(1, 151))


@pytest.mark.parametrize("sessions", [6, 21, 42])
def test_the_forecast_volatility_is_within_its_interval_as_often_as_claimed(
    market: SampleMarket, sessions: int
) -> None:
    snapshots = [s for s in market.fetch(NAMES) if isinstance(s, Snapshot)]
    table = panel.build(snapshots)
    found = volatility.study(table)
    truths = [market.truth(s.ticker) for s in snapshots]
    paths = sample_paths.simulate(SEED, truths, snapshots[0].bars.date[-1])
    z = []
    for i, (truth, path) in enumerate(zip(truths, paths, strict=True)):
        if truth.cycle_variance > 0.0:
            continue  # a cycle is no noise to a GARCH model
        p = truth.persistence
        expected = sessions * truth.variance
        expected += (path.next_variance - truth.variance) * (1.0 - p**sessions) / (1.0 - p)
        error = 0.5 * np.log(volatility.total_variance(found.ahead[i], sessions) / (1e-4 * expected))
        z.append(error / found.relative_error[i, sessions - 1])
    # Four fifths of 150 names: a share of 95 % has a standard error of 1.9 %.
    assert 0.88 < np.mean(np.abs(z) < 1.96) <= 1.0
    assert np.mean(np.abs(z) < 1.0) < 0.85
