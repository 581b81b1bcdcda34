"""How well recorded option chains are read: `python -m benchmarks.real_chains DIR`, or with BQ_TEST_DATA set.

For every chain below DIR (a folder for `files:`), whether or not there are daily bars of its ticker, and every expiry
of its horizon that has enough usable quotes: the share of the out-of-the-money quotes whose bid-ask interval holds the
smile, with its spline, with it and a cent more on each side, and without it; how many of the pairs near the money hold
the forward between their executable prices; the least density factor g, below 0 where a butterfly costs less than
nothing; the total variance by which the smile lies below that of the expiry before; modes of the density; riskless
profits listed; the relative error that the smile is given. Then a line for each ticker.
"""

import argparse
import os
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from bq.analysis import arbitrage, chain
from bq.analysis.engine import COMMISSION, SHARES
from bq.analysis.slices import Slice
from bq.market import quality
from bq.market.files import FilesMarket
from bq.market.source import Bars, Chain, RateCurve, Snapshot
from kernels import american, black_scholes, density, smile

LEAST_QUOTES: Final = 10
NEAR: Final = 0.5  # standard deviations from the forward of the pairs that are asked about it
RATE: Final = 0.04
HEAD: Final = (
    "ticker moment grade expiry days quotes | inside cent svi | pairs hold | least_g gap modes arbitrages error model"
)
CENT: Final = 0.01
WIDTHS: Final = 3.0  # of the quoted range, on which the density is looked at


class Reading(NamedTuple):
    """One expiry of one chain."""

    ticker: str
    moment: str
    grade: str
    expiry: str
    days: int
    quotes: int
    inside: float
    inside_cent: float  # the same, intervals a cent wider on each side
    inside_svi: float
    pairs: int
    pairs_hold: int  # of these, those whose executable prices hold the forward
    least_g: float
    calendar_gap: float
    modes: int
    arbitrages: int
    error: float
    spot: float
    spot_moved: bool
    model: str


def snapshots(folder: Path, rate: float = RATE) -> list[Snapshot]:
    """Give every chain of a folder as a snapshot of its own moment; without bars where there are none."""
    market = FilesMarket(folder, rate=rate)
    found = []
    for ticker in market.quoted():
        for quotes in market.chains(ticker):
            (answer,) = market.at(quotes.quote_time).fetch([ticker])
            found.append(answer if isinstance(answer, Snapshot) else _bare(ticker, quotes, rate))
    return found


def _bare(ticker: str, quotes: Chain, rate: float) -> Snapshot:
    empty = np.empty(0)
    bars = Bars(np.empty(0, "datetime64[D]"), empty, empty, empty, empty, empty)
    return Snapshot(ticker, ticker, "files", quotes.quote_time, bars, quotes.spot, RateCurve.flat(rate), chain=quotes)


def read(batch: list[Snapshot]) -> list[Reading]:
    """Read the chains of a batch as the analysis does."""
    checked = [quality.inspect(s) for s in batch]
    slices = [s for i, (one, q) in enumerate(zip(batch, checked, strict=True)) for s in chain.slices_of(i, one, q)]
    chain.read(slices)
    arbitrage.scan(slices, batch, COMMISSION / SHARES)
    return [
        _reading(s, batch[s.owner], checked[s.owner].grade)
        for s in slices
        if s.k is not None and s.k.size >= LEAST_QUOTES and s.svi is not None
    ]


def _reading(s: Slice, snapshot: Snapshot, grade: str) -> Reading:
    assert s.svi is not None
    assert s.k is not None
    low, high = float(s.k[0]), float(s.k[-1])
    reach = 0.5 * (WIDTHS - 1.0) * (high - low)
    least = float(smile.g(s.svi, np.linspace(low - reach, high + reach, 4001)[None]).min())
    curve = density.density(s.svi, np.linspace(low, high, 801)[None])[0]
    turns = (curve[1:-1] > curve[:-2]) & (curve[1:-1] >= curve[2:])
    hold, asked = _pairs_that_hold(s)
    return Reading(
        snapshot.ticker,
        f"{snapshot.as_of:%Y-%m-%dT%H:%M:%SZ}",
        grade,
        str(s.expiry),
        s.dte,
        s.k.size,
        s.inside,
        _inside_a_cent(s),
        s.inside_svi,
        asked,
        hold,
        least,
        s.calendar_gap,
        int(turns.sum()),
        len(s.arbitrage),
        s.iv_error,
        s.spot,
        s.spot_moved,
        s.model,
    )


def _inside_a_cent(s: Slice) -> float:
    """Give the share of quotes whose interval, a cent wider on each side, holds the smile."""
    assert s.strikes_fitted is not None
    assert s.iv is not None
    assert s.iv_bid is not None
    assert s.iv_ask is not None
    assert s.iv_fit is not None
    calls = s.strikes_fitted >= s.forward
    cent = CENT / black_scholes.greeks(s.spot, s.strikes_fitted, s.tau, s.rate, s.dividend, s.iv, calls).vega
    return float(np.mean((s.iv_fit >= np.nan_to_num(s.iv_bid) - cent) & (s.iv_fit <= s.iv_ask + cent)))


def _pairs_that_hold(s: Slice) -> tuple[int, int]:
    """Count the pairs near the money whose executable prices, freed of early exercise, hold the forward; and all."""
    near = np.abs(np.log(s.strike / s.forward)) < NEAR * s.atm_iv * np.sqrt(s.tau)
    rows = np.flatnonzero(near & np.isfinite(s.call.bid + s.call.ask + s.put.bid + s.put.ask))
    strike, sigma = s.strike[rows], s.sigma(s.strike[rows])
    terms = (s.spot, strike, s.tau, s.rate, s.dividend, sigma)
    call, put = (
        american.price(*terms, side, scheme="audit").price - black_scholes.price(*terms, side) for side in (True, False)
    )
    low = strike + (s.call.bid[rows] - s.put.ask[rows] - call + put) / s.discount
    high = strike + (s.call.ask[rows] - s.put.bid[rows] - call + put) / s.discount
    return int(np.count_nonzero((low <= s.forward) & (s.forward <= high))), rows.size


def summary(readings: list[Reading]) -> str:
    """Write a line for each ticker: means over its expiries."""
    lines = []
    for ticker in sorted({r.ticker for r in readings}):
        own = [r for r in readings if r.ticker == ticker]
        held, pairs = sum(r.pairs_hold for r in own), sum(r.pairs for r in own)
        lines.append(
            f"{ticker}: {len(own)} expiries of {len({r.moment for r in own})} chains, grades "
            f"{'/'.join(sorted({r.grade for r in own}))}: inside {np.mean([r.inside for r in own]):.2f} "
            f"(within a cent {np.mean([r.inside_cent for r in own]):.2f}, "
            f"SVI alone {np.mean([r.inside_svi for r in own]):.2f}, worst {min(r.inside for r in own):.2f}); "
            f"forward within {held}/{pairs} pairs; least g {min(r.least_g for r in own):.1e}; "
            f"calendar gap at most {max(r.calendar_gap for r in own):.1e}; "
            f"modes {np.mean([r.modes for r in own]):.1f}; "
            f"arbitrages {np.mean([r.arbitrages for r in own]):.1f} an expiry; "
            f"error {100.0 * np.mean([r.error for r in own]):.2f} %"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", default=os.environ.get("BQ_TEST_DATA"), help="default: BQ_TEST_DATA")
    parser.add_argument("--brief", action="store_true", help="one line a ticker only")
    parser.add_argument("--rate", type=float, default=RATE, help="continuous, a year: recordings carry no curve")
    given = parser.parse_args()
    if given.folder is None:
        parser.error("name a folder with option chains, or set BQ_TEST_DATA")
    folder = Path(given.folder)
    batch = snapshots(folder / "market" if (folder / "market").is_dir() else folder, given.rate)
    readings = read(batch)
    if not given.brief:
        print(HEAD)
        for r in readings:
            print(
                f"{r.ticker} {r.moment} {r.grade} {r.expiry} {r.days:3d} {r.quotes:4d} | {r.inside:.2f} "
                f"{r.inside_cent:.2f} {r.inside_svi:.2f} | {r.pairs:3d} {r.pairs_hold:3d} "
                f"| {r.least_g:9.1e} {r.calendar_gap:.1e} {r.modes:2d} {r.arbitrages:2d} "
                f"{100.0 * r.error:.2f} % {r.model}"
            )
    for one in batch:
        grade = quality.inspect(one).grade
        own = [r for r in readings if (r.ticker, r.moment) == (one.ticker, f"{one.as_of:%Y-%m-%dT%H:%M:%SZ}")]
        moved = f", its quotes belong to a spot of {own[0].spot:.2f}" if own and own[0].spot_moved else ""
        print(f"{one.ticker} {one.as_of:%Y-%m-%d %H:%M} grade {grade}, spot {one.spot:.2f}{moved}")
    print(summary(readings))


if __name__ == "__main__":
    main()
