"""Planted riskless profits are found, with their strikes and sizes; a fair chain has none."""

import msgspec
import numpy as np
import pytest

from bq.analysis import arbitrage, chain
from bq.market import quality
from bq.market.source import Chain, Snapshot
from kernels import american

FEE = 0.0065


def slices_and_chain(snapshot: Snapshot, change: dict[int, tuple[float, float]] | None = None):
    """Quotes at a mid that is arbitrage-free, a cent wide on each side; `change` replaces rows' bid and ask."""
    quotes = snapshot.chain
    assert quotes is not None
    s = chain.slices_of(0, snapshot, quality.inspect(snapshot))
    chain.read(s)
    bid, ask = np.zeros(quotes.strike.size), np.zeros(quotes.strike.size)
    for part in s:
        for side, is_call in ((part.call, True), (part.put, False)):
            rows = side.row[side.row >= 0]
            strike = quotes.strike[rows]
            value = american.price(
                part.spot, strike, part.tau, part.rate, part.dividend, part.sigma(strike), is_call
            ).price
            bid[rows], ask[rows] = value - 0.02, value + 0.02
    for row, (b, a) in (change or {}).items():
        bid[row], ask[row] = b, a
    clean: Chain = msgspec.structs.replace(
        quotes, bid=bid, ask=ask, bid_size=np.full(bid.size, 7.0), ask_size=np.full(bid.size, 5.0)
    )
    return s, clean


def scan(s, clean, snapshot):
    """Look through a batch whose first ticker it is; the second one's slices lie at the same strikes."""
    batch = [msgspec.structs.replace(snapshot, chain=clean, dividends=()), snapshot]
    other = [msgspec.structs.replace(part, owner=1) for part in s]
    arbitrage.scan([*s, *other], batch, FEE)
    alone = [msgspec.structs.replace(part) for part in s]
    arbitrage.scan(alone, batch[:1], FEE)
    assert [part.arbitrage for part in s] == [part.arbitrage for part in alone]
    return [part.arbitrage for part in s]


def test_a_fair_chain_has_none(snapshots):
    s, clean = slices_and_chain(snapshots[0])
    assert scan(s, clean, snapshots[0]) == [[] for _ in s]


def row_of(s, at: int, strike_index: int, is_call: bool) -> int:
    side = s[at].call if is_call else s[at].put
    return int(side.row[strike_index])


def test_a_vertical_is_found(snapshots):
    s, clean = slices_and_chain(snapshots[0])
    middle = s[1].strike.size // 2
    low, high = (row_of(s, 1, middle + j, True) for j in (0, 1))
    # The higher strike's call is bid above what the lower one's is offered at.
    s, clean = slices_and_chain(snapshots[0], {high: (float(clean.ask[low]) + 0.5, float(clean.ask[low]) + 0.6)})
    found = [t for t in scan(s, clean, snapshots[0])[1] if t.kind == "vertical" and t.is_call]
    first = next(t for t in found if t.strikes == [s[1].strike[middle], s[1].strike[middle + 1]])
    assert first.profit == pytest.approx(0.5 - 2 * FEE, abs=1e-6)
    assert first.size == 5.0


def test_a_butterfly_is_found(snapshots):
    s, clean = slices_and_chain(snapshots[0])
    middle = s[2].strike.size // 2
    rows = [row_of(s, 2, middle + j, False) for j in (-1, 0, 1)]
    wings = 0.5 * float(clean.ask[rows[0]] + clean.ask[rows[2]])
    s, clean = slices_and_chain(snapshots[0], {rows[1]: (wings + 0.3, wings + 0.35)})
    found = [t for t in scan(s, clean, snapshots[0])[2] if t.kind == "butterfly" and not t.is_call]
    best = max(found, key=lambda t: t.profit)
    assert best.strikes == s[2].strike[middle - 1 : middle + 2].tolist()
    assert best.profit == pytest.approx(0.3 - 2 * FEE, abs=1e-6)
    assert best.size == 7.0  # one middle against half of each wing


def test_a_calendar_is_found_at_the_later_expiry(snapshots):
    s, clean = slices_and_chain(snapshots[0])
    strike = np.intersect1d(s[0].strike, s[1].strike)[3]
    rows = [row_of(s, i, int(np.searchsorted(s[i].strike, strike)), True) for i in (0, 1)]
    level = float(clean.bid[rows[0]])
    s, clean = slices_and_chain(snapshots[0], {rows[1]: (level - 0.4, level - 0.25)})
    found = [t for t in scan(s, clean, snapshots[0])[1] if t.kind == "calendar"]
    assert [(t.strikes, t.is_call) for t in found] == [([strike], True)]
    assert found[0].profit == pytest.approx(0.25 - 2 * FEE, abs=1e-6)
    assert not any(t.kind == "calendar" for t in scan(s, clean, snapshots[0])[0])


def test_parity_is_found_beyond_the_doubt_about_the_spot(snapshots):
    s, clean = slices_and_chain(snapshots[0])
    middle = s[1].strike.size // 2
    call = row_of(s, 1, middle, True)
    doubt = arbitrage.SPOT_DOUBT * s[1].spot
    s, clean = slices_and_chain(
        snapshots[0], {call: (float(clean.bid[call]) + doubt + 3.0, float(clean.ask[call]) + 9.0)}
    )
    found = [t for t in scan(s, clean, snapshots[0])[1] if t.kind == "parity"]
    assert [t.strikes for t in found] == [[s[1].strike[middle]]]
    assert 1.5 < found[0].profit < 3.5


def test_a_dividend_that_nobody_told_is_no_profit(snapshots):
    """The quotes know of it, so does the forward: short shares pay it."""
    share = snapshots[0]
    s, clean = slices_and_chain(share)
    cash, last = 0.01 * share.spot, len(s) - 1
    for part in s:
        part.forward -= cash / part.discount
    bid, ask = clean.bid.copy(), clean.ask.copy()
    for part in s:
        middle = part.strike.size // 2
        calls, puts = part.call.row[middle:], part.put.row[: middle + 1]
        bid[calls], ask[calls] = bid[calls] - cash, ask[calls] - cash
        bid[puts[-1]], ask[puts[-1]] = bid[puts[-1]] + 0.2 * cash, ask[puts[-1]] + 0.2 * cash
    late = msgspec.structs.replace(clean, bid=bid, ask=ask)
    assert not [t for t in scan(s, late, share)[last] if t.kind == "parity"]
    for part in s:
        part.forward += cash / part.discount
    assert [t for t in scan(s, late, share)[last] if t.kind == "parity"]


def test_no_more_than_ten_are_shown_largest_first(snapshots):
    s, clean = slices_and_chain(snapshots[0])
    rows = s[1].call.row[s[1].call.row >= 0]
    change = {
        int(row): (float(clean.bid[row]) + (5.0 if i % 2 else 0.0), float(clean.ask[row]) + 6.0)
        for i, row in enumerate(rows)
    }
    s, clean = slices_and_chain(snapshots[0], change)
    found = scan(s, clean, snapshots[0])[1]
    assert len(found) == arbitrage.MOST_SHOWN
    assert [t.profit for t in found] == sorted((t.profit for t in found), reverse=True)
