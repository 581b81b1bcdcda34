"""What a universe means on which market."""

import datetime as dt
from pathlib import Path

import pytest

from bq.errors import Failure
from bq.market.sample import SampleMarket
from bq.market.source import Listing
from bq.scan import universe
from bq.scan.ticker_list import read

MOMENT = dt.datetime(2026, 6, 30, 21, 0, tzinfo=dt.UTC)


class Shop:
    """A market that has some symbols, or does not say which."""

    group = 1

    def __init__(self, name: str, symbols: tuple[str, ...] | None) -> None:
        self.name = name
        self._listed = None if symbols is None else [Listing(symbol, symbol) for symbol in symbols]

    def universe(self) -> list[Listing] | None:
        return self._listed

    def fetch(self, tickers):
        raise NotImplementedError

    def popular(self) -> list[Listing]:
        return []

    def close(self) -> None:
        pass


YAHOO = Shop("yahoo", None)
FILES = Shop("files", ("AAPL", "BRK-B", "ASML", "QQQ"))
SAMPLE = SampleMarket(lambda: MOMENT)


def tags(chosen: universe.Universe) -> dict[str, tuple[str, ...]]:
    return {one.ticker: one.tags for one in chosen.tickers}


def test_the_shipped_lists_are_whole() -> None:
    sp500, nasdaq = universe.members("sp500"), universe.members("nasdaq100")

    assert (len(sp500), len(nasdaq)) == (503, 101)
    assert {"BRK.B", "BF.B"} <= sp500
    assert len(sp500 | nasdaq) == 517


@pytest.mark.parametrize(
    ("name", "count"), [("sp500", 503), ("S&P 500", 503), ("SPX", 503), ("Nasdaq-100", 101), ("ndx", 101), ("all", 517)]
)
def test_where_the_market_does_not_say_what_it_has_the_lists_do(name: str, count: int) -> None:
    found = tags(universe.resolve(name, YAHOO))

    assert len(found) == count
    assert found["AAPL"] == ("NASDAQ", "SP500")
    assert found.get("BRK.B", ("SP500",)) == ("SP500",)  # as it is written, whatever the source calls it


def test_the_simulated_market_has_indices_of_its_own() -> None:
    sp500, nasdaq, everything = (tags(universe.resolve(name, SAMPLE)) for name in ("sp500", "nasdaq100", "sample"))

    assert (len(sp500), len(nasdaq), len(everything)) == (500, 100, 509)
    assert all("SP500" in has for has in sp500.values())
    assert len(set(sp500) & set(nasdaq)) == 93
    assert everything["SPY"] == ()
    assert "^GSPC" not in everything
    assert everything == tags(universe.resolve("all", SAMPLE))


def test_a_folder_is_scanned_for_the_members_that_it_has() -> None:
    chosen = universe.resolve("sp500", FILES)

    assert tags(chosen) == {"AAPL": ("NASDAQ", "SP500"), "BRK-B": ("SP500",)}
    assert "2 of the 503 members" in chosen.note
    assert tags(universe.resolve("all", FILES)) == {
        "AAPL": ("NASDAQ", "SP500"), "BRK-B": ("SP500",), "ASML": ("NASDAQ",), "QQQ": (),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "market"), [("dow", YAHOO), ("sample", YAHOO), ("", YAHOO), ("sp500", Shop("files", ("X",)))]
)
def test_a_universe_that_is_none_is_refused_with_what_there_is(name: str, market: Shop) -> None:
    with pytest.raises(Failure) as caught:
        universe.resolve(name, market)
    assert caught.value.problem.code == "bad_request"
    assert "all" in caught.value.problem.error


def test_an_own_list_is_tagged_and_spelled_as_its_market_spells_it() -> None:
    chosen = universe.from_list(read("brk.b\nAAPL\nZZZ9\n"), FILES)

    assert tags(chosen) == {"BRK-B": ("SP500",), "AAPL": ("NASDAQ", "SP500"), "ZZZ9": ()}
    assert [str(remark) for remark in chosen.remarks] == ["line 1: BRK.B is spelled BRK-B in the files market"]


def test_a_file_is_read_and_its_name_kept(tmp_path: Path) -> None:
    path = tmp_path / "mine.md"
    path.write_text("# My shares\n- AAPL\n- what?!\n", encoding="utf-8")
    chosen = universe.resolve_text(str(path), YAHOO)

    assert (chosen.name, [one.ticker for one in chosen.tickers]) == ("mine", ["AAPL"])
    assert [remark.line for remark in chosen.remarks] == [3]
    assert [one.ticker for one in universe.resolve_text("aapl, msft", YAHOO).tickers] == ["AAPL", "MSFT"]
    assert universe.resolve_text("sp500", YAHOO).name == "sp500"
    assert len(universe.resolve_text(",".join(sorted(universe.members("sp500"))), YAHOO).tickers) == 503


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "it is empty"), (b"# nothing\n??\n", "line 2"), ("AAPL".encode("utf-16"), "UTF-8"), (None, "No such file")],
)
def test_a_file_without_tickers_is_refused_with_the_reason(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Failure) as caught:
        universe.from_file(path, YAHOO)
    assert says in caught.value.problem.error


def test_a_list_of_a_program_is_spoken_of_by_positions() -> None:
    chosen = universe.from_symbols(["aapl", "x y", "AAPL", "brk-b"], YAHOO)

    assert tags(chosen) == {"AAPL": ("NASDAQ", "SP500"), "BRK-B": ("SP500",)}
    assert [(remark.line, remark.text.split(" ")[0]) for remark in chosen.remarks] == [(2, "'X"), (3, "AAPL")]


def test_a_universe_may_be_too_long() -> None:
    with pytest.raises(Failure) as caught:
        universe.at_most(universe.resolve("sp500", YAHOO), 500)
    assert (caught.value.problem.code, "500" in caught.value.problem.error) == ("too_large", True)
