"""Which tickers a scan looks at: an index, all there are, or the caller's own list, each with its tags.

Rules of this file: names and lists in, a universe out; it asks a market which symbols it has and nothing else. The
members of the two indices ship with the project as symbols (`lists/`), since no market gives them; a market that says
itself who is a member (the simulated one does) is believed instead.

What a name means on which market; a market's own name means all of it:

===========  ======================  ==================================  ===========================================
name         `yahoo`                 `sample`                            `files:DIR`
===========  ======================  ==================================  ===========================================
`sp500`      the shipped members     the simulated members (500)         the shipped members that the folder has
`nasdaq100`  the shipped members     the simulated members (100)         the shipped members that the folder has
`all`        members of either       every share and fund (509)          every ticker of the folder
===========  ======================  ==================================  ===========================================
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from msgspec import Struct

from bq.errors import Failure, Problem, bad_request
from bq.market.source import Listing, Market
from bq.scan import ticker_list
from bq.scan.records import ScanTicker
from bq.scan.ticker_list import Listed, Remark, TickerList
from bq.symbols import share

LISTS: Final = Path(__file__).parent / "lists"
INDICES: Final = {"nasdaq100": "NASDAQ", "sp500": "SP500"}
"""Names of universes that are an index, and the tag of its members."""
ALL: Final = "all"
OWN: Final = "list"
LIST_SUFFIXES: Final = (".md", ".markdown", ".csv", ".tsv", ".txt")
NOT_FOR_SCANS: Final = "INDEX"  # tag of listings that are no shares
_ALIASES: Final = {
    "nasdaq": "nasdaq100", "nas100": "nasdaq100", "ndx": "nasdaq100", "spx": "sp500", "sandp500": "sp500",
}  # fmt: skip
NAMES: Final = "sp500, nasdaq100, all"


class Universe(Struct, frozen=True):
    """Distinct tickers with their tags, in order, and what was left out or is to be known."""

    name: str
    tickers: tuple[ScanTicker, ...]
    remarks: tuple[Remark, ...] = ()
    """On lines of the caller's list; of a list without lines, on positions counted from 1."""
    note: str = ""


@cache
def members(index: str) -> frozenset[str]:
    """Give the shipped members of an index ("sp500", "nasdaq100"), share classes with a dot."""
    text = (LISTS / f"{index}.txt").read_text(encoding="utf-8")
    return frozenset(share(entry.symbol) for entry in ticker_list.read(text).entries)


def resolve(name: str, market: Market) -> Universe:
    """Say which tickers a name, or tickers with commas between them, mean on a market.

    Raises
    ------
    Failure
        With `bad_request`: no such universe, or none of it in this market.
    """
    if "," in name:
        return from_symbols([part for part in name.split(",") if part.strip()], market)
    plain = "".join(letter for letter in name.lower().replace("&", "and") if letter.isalnum())
    chosen = ALL if plain == market.name else _ALIASES.get(plain, plain)
    if chosen not in (*INDICES, ALL):
        raise Failure(
            bad_request(f"There is no universe {name[:40]!r}; give {NAMES}, or tickers with commas (AAPL,MSFT).")
        )
    listings = market.universe()
    if listings is None:
        return Universe(chosen, _shipped(chosen))
    known = [listing for listing in listings if NOT_FOR_SCANS not in listing.tags]
    tags = _tagger(known)
    found = tuple(ScanTicker(one.symbol, tags(one)) for one in known)
    if chosen == ALL:
        return Universe(ALL, found)
    found = tuple(one for one in found if INDICES[chosen] in one.tags)
    if not found:
        raise Failure(bad_request(f"None of {chosen} is in the {market.name} market; scan all of it: all."))
    note = ""
    if not _knows_members(known) and len(found) < len(members(chosen)):
        note = f"{len(found)} of the {len(members(chosen))} members of {chosen} are in the {market.name} market."
    return Universe(chosen, found, note=note)


def from_list(listed: TickerList, market: Market, name: str = OWN) -> Universe:
    """Make a universe of a list that was read.

    Raises
    ------
    Failure
        With `bad_request`, when not one ticker is left; the text says what was wrong with the first lines.
    """
    if not listed.entries:
        reasons = "; ".join(map(str, listed.remarks[:3])) or "it is empty"
        raise Failure(bad_request(f"There is no ticker in the list: {reasons}."))
    listings = market.universe() or []
    tags = _tagger(listings)
    by_share = {share(one.symbol): one for one in listings}
    remarks = list(listed.remarks)
    tickers = []
    for entry in listed.entries:
        listing = by_share.get(share(entry.symbol))
        symbol = entry.symbol if listing is None else listing.symbol
        if symbol != entry.symbol:
            remarks.append(Remark(entry.line, f"{entry.symbol} is spelled {symbol} in the {market.name} market"))
        own = _shipped_tags(symbol) if listing is None else tags(listing)
        tickers.append(ScanTicker(symbol, tuple(sorted({*entry.tags, *own}))))
    return Universe(name, tuple(tickers), tuple(sorted(remarks, key=lambda remark: remark.line)))


def from_symbols(symbols: Sequence[str], market: Market) -> Universe:
    """Make a universe of symbols as a program sends them; each stands for itself, whatever it looks like.

    Raises
    ------
    Failure
        With `bad_request`, when not one ticker is left.
    """
    entries = (Listed(symbol, position) for position, symbol in enumerate(symbols, 1))
    return from_list(ticker_list.collect(entries, unit="position"), market)


def from_file(path: Path, market: Market) -> Universe:
    """Read a file of tickers: plain text, CSV or Markdown (see `ticker_list`).

    Raises
    ------
    Failure
        With `bad_request`: no such file, not a text, no ticker in it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise Failure(bad_request(f"{path} is not a text in UTF-8. Save the list as plain text or CSV.")) from None
    except OSError as error:
        raise Failure(bad_request(f"{path} cannot be read: {error.strerror}.")) from None
    return from_list(ticker_list.read(text, path.name), market, path.stem)


def resolve_text(text: str, market: Market) -> Universe:
    """Say which tickers an operator means: a name, a file, or tickers with commas between them.

    Raises
    ------
    Failure
        With `bad_request`, when it is none of these.
    """
    path = Path(text).expanduser()
    if path.suffix.lower() in LIST_SUFFIXES or _is_file(path):
        return from_file(path, market)
    return resolve(text, market)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a long list of tickers is longer than a name may be
        return False


def at_most(universe: Universe, limit: int) -> Universe:
    """Refuse a universe that is longer than a scan may be.

    Raises
    ------
    Failure
        With `too_large`.
    """
    if len(universe.tickers) > limit:
        text = f"{len(universe.tickers)} tickers in one scan; the limit is {limit} (BQ_TASK_LIMIT)."
        raise Failure(Problem("too_large", text))
    return universe


def _shipped(chosen: str) -> tuple[ScanTicker, ...]:
    names = members(chosen) if chosen in INDICES else members("sp500") | members("nasdaq100")
    return tuple(ScanTicker(symbol, _shipped_tags(symbol)) for symbol in sorted(names))


def _shipped_tags(symbol: str) -> tuple[str, ...]:
    return tuple(tag for index, tag in INDICES.items() if share(symbol) in members(index))


def _knows_members(listings: Iterable[Listing]) -> bool:
    return any(tag in listing.tags for listing in listings for tag in INDICES.values())


def _tagger(listings: Sequence[Listing]) -> Callable[[Listing], tuple[str, ...]]:
    """Give what names the indices of a listing: by its market, where that knows members; else by the shipped lists."""
    if _knows_members(listings):
        return lambda listing: tuple(tag for tag in INDICES.values() if tag in listing.tags)
    return lambda listing: _shipped_tags(listing.symbol)
