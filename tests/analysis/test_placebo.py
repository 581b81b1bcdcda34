"""Where there is no edge, none is claimed: at most 5 % of fair markets get a BUY, the rate that decision 6 states."""

import math

import pytest

from bq.analysis import engine
from bq.schema import Analysis, Extended
from tests.analysis.fair_market import fair_names, markets

RATE = 0.05


def claims(count: int) -> tuple[int, int, int]:
    """Analyse so many fair markets; how many were analysed from quotes, and how many got a BUY or a STRONG_BUY."""
    found = [a for a in engine.analyze(markets(fair_names(count))) if isinstance(a, Analysis)]
    assert len(found) == count
    searched = [a for a in found if isinstance(a.extended, Extended) and a.extended.search is not None]
    bought = [a for a in searched if a.score.recommendation in ("BUY", "STRONG_BUY")]
    for a in searched:
        x = a.extended
        assert isinstance(x, Extended)
        assert x.search is not None
        assert x.search.passed > 1_000
        # The claim and its grounds agree.
        assert (a.trade_suggestion.action == "BUY") == (a in bought)
        if a in bought:
            assert x.risk.ev_bound is not None
            assert x.risk.ev_bound > 0.0
    return len(searched), len(bought), sum(a.score.recommendation == "STRONG_BUY" for a in bought)


def most(n: int, rate: float) -> float:
    """Three standard errors above what the rate allows."""
    return n * rate + 3.0 * math.sqrt(n * rate * (1.0 - rate))


def test_a_few_fair_markets_give_hardly_a_claim() -> None:
    searched, bought, _ = claims(24)
    assert searched >= 20
    assert bought <= most(searched, RATE)


@pytest.mark.slow
def test_hundreds_of_fair_markets_give_claims_at_the_stated_rate_at_most() -> None:
    searched, bought, strong = claims(400)
    print(f"placebo: {bought} BUY or better, {strong} STRONG_BUY, of {searched} fair markets")
    assert searched >= 380
    assert bought <= RATE * searched
    assert strong <= 0.01 * searched
