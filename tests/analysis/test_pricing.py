"""Arrays of options: units, styles, pandas, and what is refused."""

import numpy as np
import pandas as pd
import pytest

import bq
from kernels import american, black_scholes

ROWS = {"spot": 100.0, "strike": [90.0, 100.0, 115.0], "tau": 0.25, "rate": 0.04, "dividend": 0.01, "sigma": 0.3}


def central(argument: str, step: float, column: str, style: str) -> np.ndarray:
    """Change of a column per unit of an argument."""
    up, down = (
        getattr(bq.price(**(ROWS | {argument: ROWS[argument] + sign * step}), is_call=False, style=style), column)
        for sign in (1.0, -1.0)
    )
    return (up - down) / (2.0 * step)


@pytest.mark.parametrize("style", ["european", "american"])
@pytest.mark.parametrize(
    ("greek", "argument", "column", "unit"),
    [
        ("delta", "spot", "price", 1.0),
        ("gamma", "spot", "delta", 1.0),
        ("vega", "sigma", "price", 0.01),
        ("theta", "tau", "price", -1.0 / 365.0),
        ("rho", "rate", "price", 0.01),
        ("vanna", "sigma", "delta", 0.01),
        ("volga", "sigma", "vega", 0.01),
        ("charm", "tau", "delta", -1.0 / 365.0),
    ],
)
def test_greeks_are_changes_of_the_price_in_the_units_said(
    greek: str, argument: str, column: str, unit: float, style: str
) -> None:
    step = {"spot": 0.05, "sigma": 1e-3, "tau": 1e-3, "rate": 1e-3}[argument]
    found = getattr(bq.price(**ROWS, is_call=False, style=style), greek)
    # The American price carries 5e-4 per $100: its differences are that much rougher.
    tolerance = 2e-4 if style == "european" else 0.03
    np.testing.assert_allclose(found, unit * central(argument, step, column, style), rtol=tolerance, atol=2e-6)


def test_each_row_has_its_own_style_and_the_same_bits_as_alone() -> None:
    styles = ["american", "european", "american"]
    mixed = bq.price(**ROWS, is_call=False, style=styles)
    for i, (style, strike) in enumerate(zip(styles, ROWS["strike"], strict=True)):
        alone = bq.price(**(ROWS | {"strike": strike}), is_call=False, style=style)
        assert [float(column[i]) for column in mixed] == [float(column[0]) for column in alone]
    early = american.price(100.0, ROWS["strike"], 0.25, 0.04, 0.01, 0.3, False).price
    late = black_scholes.price(100.0, ROWS["strike"], 0.25, 0.04, 0.01, 0.3, False)
    np.testing.assert_array_equal(mixed.price, np.where([True, False, True], early, late))


@pytest.mark.parametrize("style", ["european", "american"])
def test_implied_volatilities_come_back(style: str) -> None:
    sigma = np.array([0.15, 0.3, 0.8])
    market = {key: ROWS[key] for key in ("spot", "strike", "tau", "rate", "dividend")}
    priced = bq.price(**market, sigma=sigma, is_call=True, style=style)
    back = bq.implied_vol(priced.price, **market, is_call=True, style=style)
    assert back.status.tolist() == [0, 0, 0]
    np.testing.assert_allclose(back.sigma, sigma, atol=1e-6)


def test_a_bad_row_has_a_status_and_leaves_the_others_alone() -> None:
    good = bq.price(**ROWS, is_call=True)
    found = bq.price(**(ROWS | {"strike": [90.0, None, 115.0]}), is_call=True)
    assert found.status.tolist() == [0, 5, 0]
    assert np.isnan(found.price[1])
    assert found.price[[0, 2]].tolist() == good.price[[0, 2]].tolist()
    assert bq.implied_vol([1e-9, 200.0], 100.0, 50.0, 0.25, 0.04, 0.0, True).status.tolist() == [1, 2]


def test_no_rows_give_no_rows() -> None:
    found = bq.price([], 100.0, 0.25, 0.04, 0.0, 0.2, True, "american")
    assert [column.shape for column in found] == [(0,)] * 10


def test_a_frame_in_is_a_frame_out() -> None:
    frame = pd.DataFrame(ROWS | {"is_call": [True, False, True]}, index=["a", "b", "c"])
    table = bq.price(frame, style="american")
    arrays = bq.price(**{name: frame[name].to_numpy() for name in frame}, style="american")
    assert table.index.tolist() == ["a", "b", "c"]
    assert table["price"].tolist() == arrays.price.tolist()
    assert table["meaning"].tolist() == ["ok", "ok", "ok"]
    assert bq.price(frame, sigma=0.5)["vega"].iloc[0] != table["vega"].iloc[0]
    back = bq.implied_vol(frame.assign(price=table["price"]), style="american")
    np.testing.assert_allclose(back["sigma"], 0.3, atol=1e-6)


def test_a_series_beside_scalars_keeps_its_index() -> None:
    table = bq.price(100.0, pd.Series([90.0, 110.0], index=[7, 9]), 0.25, 0.04, 0.0, 0.2, True)
    assert table.index.tolist() == [7, 9]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"strike": [90.0, 100.0], "sigma": [0.2, 0.3, 0.4]}, "strike has 2, sigma has 3"),
        ({"strike": "dear"}, "strike must hold numbers"),
        ({"strike": [[90.0]]}, "of shape"),
        ({"is_call": "put"}, "is_call must be true or false"),
        ({"is_call": [0.3]}, "is_call must be true or false"),
        ({"style": "bermudan"}, "style must be european or american"),
        ({"sigma": None}, "missing: sigma"),
        ({"strike": pd.Series([1.0]), "sigma": pd.Series([1.0], index=[3])}, "different indexes"),
    ],
)
def test_what_cannot_be_meant_is_refused(change: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        bq.price(**(ROWS | {"is_call": True} | change))
