"""The definitions and cut-offs of docs/decisions/0002-score.md."""

import pytest

from bq.analysis.score import WEIGHTS, Evidence, components, judge

FAIR = Evidence(
    ev_forecast=0.0,
    ev_bound=-0.1,
    ev_error=0.1,
    ev_shrunk=None,
    max_loss=2.0,
    vega=-0.05,
    vol_mispricing=0.0,
    volatility_percentile=50.0,
    cycle_fit=None,
    delta_share=0.0,
    quotes=True,
    grade="A",
    measures_agree=True,
    sound=True,
    flags=(),
)
GOOD = FAIR._replace(ev_forecast=0.9, ev_bound=0.3, vol_mispricing=15.0, volatility_percentile=10.0)


def test_a_fair_position_scores_in_the_middle() -> None:
    assert judge(FAIR)[0].total == pytest.approx(50.0)


@pytest.mark.parametrize(
    ("field", "low", "high", "part"),
    [
        ("ev_forecast", -1.0, 1.0, "price_match"),
        ("vol_mispricing", -20.0, 20.0, "vol_mispricing"),
        ("volatility_percentile", 100.0, 0.0, "stability"),
        ("cycle_fit", 0.0, 1.0, "fourier_align"),
    ],
)
def test_every_part_reaches_both_ends(field: str, low: float, high: float, part: str) -> None:
    ends = [getattr(components(FAIR._replace(**{field: value}))[0], part) for value in (low, high)]
    assert ends == pytest.approx([0.0, 100.0])


def test_without_a_significant_cycle_its_weight_goes_to_the_others() -> None:
    _, weights = components(FAIR)
    assert "fourier_align" not in weights
    assert sum(weights.values()) == pytest.approx(100.0)
    assert weights["price_match"] / weights["stability"] == pytest.approx(35.0 / 20.0)


def test_with_everything_known_the_weights_are_the_old_ones() -> None:
    assert components(FAIR._replace(cycle_fit=0.5))[1] == pytest.approx(WEIGHTS)


def test_rich_volatility_counts_against_a_position_that_is_long_it() -> None:
    short, long = (components(FAIR._replace(vol_mispricing=10.0, vega=vega))[0].vol_mispricing for vega in (-0.1, 0.1))
    assert short == pytest.approx(75.0)
    assert long == pytest.approx(25.0)


def test_delta_is_penalised_up_to_twenty_points() -> None:
    totals = [judge(FAIR._replace(delta_share=share))[0].total for share in (0.0, 0.05, 0.2, 0.9)]
    assert totals == pytest.approx([50.0, 45.0, 30.0, 30.0])


def test_a_clear_edge_with_good_quotes_is_a_strong_buy() -> None:
    assert judge(GOOD)[0].recommendation == "STRONG_BUY"


@pytest.mark.parametrize(
    "change",
    [
        {"ev_forecast": 0.0},
        {"ev_forecast": -0.5},
        {"ev_shrunk": -0.01},
        {"ev_bound": None},
        {"ev_bound": 0.0},
        {"measures_agree": False},
        {"sound": False},
        {"quotes": False},
        {"grade": "D"},
    ],
    ids=str,
)
def test_never_a_buy_without_a_positive_expected_value_and_usable_quotes(change: dict[str, object]) -> None:
    assert judge(GOOD._replace(**change))[0].recommendation not in ("BUY", "STRONG_BUY")


def test_an_edge_within_its_error_is_watched_and_not_bought() -> None:
    score, limits = judge(GOOD._replace(ev_bound=-0.01))
    assert score.recommendation == "NEUTRAL"
    assert "edge_within_error" in limits.reasons


def test_an_edge_at_95_but_not_at_99_per_cent_is_no_strong_buy() -> None:
    assert judge(GOOD._replace(ev_bound=0.05, ev_error=0.1))[0].recommendation == "BUY"
    assert judge(GOOD._replace(ev_bound=0.06, ev_error=0.1))[0].recommendation == "STRONG_BUY"


def test_grade_d_scores_nothing_and_says_why() -> None:
    score, parts = judge(GOOD._replace(grade="D", quotes=False))
    assert (score.total, score.recommendation) == (0.0, "AVOID")
    assert "quotes_not_usable" in parts.reasons
