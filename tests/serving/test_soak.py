"""T45, a minute of it: `python -m benchmarks.soak` does it for ten."""

import pytest

from benchmarks import soak


@pytest.mark.slow
def test_a_minute_of_every_kind_of_client_and_fault_breaks_no_rule():
    figures, broken = soak.run(60.0, seed=7)

    assert broken == []
    assert figures["deeds"] > 200
