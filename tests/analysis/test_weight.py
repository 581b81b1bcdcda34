"""What a snapshot weighs, before it is analysed."""

import datetime as dt

import msgspec
import numpy as np

from bq.analysis.weight import weigh
from bq.market.sample import SampleMarket


def snapshot():
    (found,) = SampleMarket(lambda: dt.datetime(2026, 3, 2, 21, tzinfo=dt.UTC), None).fetch(["SIM001"])
    return found


def repeated(chain, times):
    """Repeat each quote: the arrays of a chain of so many times as many."""
    arrays = {name: getattr(chain, name) for name in chain.__struct_fields__}
    longer = {name: np.repeat(array, times) for name, array in arrays.items() if isinstance(array, np.ndarray)}
    return msgspec.structs.replace(chain, symbol=None, **longer)


def test_an_ordinary_name_weighs_one_and_one_without_quotes_no_less():
    found = snapshot()
    assert weigh(found) == 1
    assert weigh(msgspec.structs.replace(found, chain=None)) == 1


def test_a_giant_chain_weighs_in_proportion_to_its_quotes():
    found = snapshot()
    ten, twenty = (msgspec.structs.replace(found, chain=repeated(found.chain, times)) for times in (10, 20))
    assert weigh(ten) >= 4
    assert 1.7 < weigh(twenty) / weigh(ten) < 2.1


def test_quotes_beyond_the_horizon_weigh_nothing():
    found = snapshot()
    far = repeated(found.chain, 20)
    far = msgspec.structs.replace(far, expiry=far.expiry + np.timedelta64(365, "D"))
    assert weigh(msgspec.structs.replace(found, chain=far)) == 1
