"""Lists of tickers as people keep them: what is read, and what is said of the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bq.scan.ticker_list import read, tags_in
from bq.symbols import check_symbol, share


def symbols(text: str, name: str = "") -> list[str]:
    return [entry.symbol for entry in read(text, name).entries]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("AAPL", ["AAPL"]),
        ("aapl", ["AAPL"]),
        ("AAPL MSFT,NVDA;  GOOG", ["AAPL", "MSFT", "NVDA", "GOOG"]),
        ("aapl, msft", ["AAPL", "MSFT"]),
        ("aapl msft goog", ["AAPL", "MSFT", "GOOG"]),
        ("AAPL - Apple Inc.", ["AAPL"]),
        ("AAPL: Apple", ["AAPL"]),
        ("A Agilent Technologies", ["A"]),
        ("Apple Inc. (AAPL)", ["AAPL"]),
        ("Alphabet (NASDAQ: GOOG)", ["GOOG"]),
        ("NASDAQ:AAPL NYSE:IBM", ["AAPL", "IBM"]),
        ("$TSLA", ["TSLA"]),
        ("BRK.B BF.B", ["BRK.B", "BF.B"]),
        ("BRK/B", ["BRK.B"]),
        ("^GSPC", ["^GSPC"]),
        ("AAPL # my favourite, MSFT is not", ["AAPL"]),
        ("- AAPL", ["AAPL"]),
        ("* **MSFT** Microsoft", ["MSFT"]),
        ("12. [NVDA](https://example.com/NVDA)", ["NVDA"]),
        ("- [x] `brk.b`", ["BRK.B"]),
    ],
)
def test_a_line_is_read_as_it_was_meant(line: str, found: list[str]) -> None:
    assert symbols(line) == found
    assert symbols(f"\ufeff\n{line}\r\n\n") == found


def test_todays_files_are_read_with_the_tag_of_their_name() -> None:
    listed = read("NVDA\nAAPL\nBRK.B\n", "sp500.md")

    assert [(entry.symbol, entry.tags) for entry in listed.entries] == [
        ("NVDA", ("SP500",)), ("AAPL", ("SP500",)), ("BRK.B", ("SP500",)),
    ]  # fmt: skip
    assert read("NVDA", "nas100.md").entries[0].tags == ("NASDAQ",)
    assert not listed.remarks


def test_titles_that_name_an_index_tag_what_follows() -> None:
    text = "# S&P 500\n- AAPL\n- XOM\n\n## Nasdaq-100\n- AAPL\n- ARM\n\n## Others\n- IWM\n"
    listed = read(text)

    assert {entry.symbol: entry.tags for entry in listed.entries} == {
        "AAPL": ("NASDAQ", "SP500"), "XOM": ("SP500",), "ARM": ("NASDAQ",), "IWM": (),
    }  # fmt: skip
    assert [str(remark) for remark in listed.remarks] == ["line 6: AAPL again (first at line 2)"]


def test_tables_are_read_by_the_column_of_their_symbols() -> None:
    rows = ["| Rank | Ticker | Name |", "|---:|---|---|", "| 1 | TSLA | Tesla |", "| 2 |  | none |", "| 3 | V | Visa |"]
    text = "\n".join(["Some words", "", *rows])
    listed = read(text, "list.md")

    assert [entry.symbol for entry in listed.entries] == ["TSLA", "V"]
    assert [remark.line for remark in listed.remarks] == [1, 6]
    assert symbols("| AAPL | Apple |\n| MSFT | Microsoft |\n") == ["AAPL", "MSFT"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_is_read_by_its_header(delimiter: str) -> None:
    rows = [["Name", "Symbol", "Index"], ["Apple", "aapl", "Nasdaq 100"], ["none", "", ""], ["Visa", "V", "S&P 500"]]
    listed = read("\n".join(delimiter.join(row) for row in rows))

    assert [(entry.symbol, entry.tags) for entry in listed.entries] == [("AAPL", ("NASDAQ",)), ("V", ("SP500",))]
    assert [str(remark) for remark in listed.remarks] == ["line 3: no symbol in this row"]


def test_csv_without_a_header_has_symbols_first_and_quotes_are_understood() -> None:
    assert symbols('AAPL,"Apple, Inc."\nMSFT,Microsoft\n', "own.csv") == ["AAPL", "MSFT"]


def test_what_cannot_be_used_is_said_with_its_line_and_drops_nothing_else() -> None:
    listed = read("AAPL\n# a comment\nwhat?!\nAAPL\n12345\nthis is a sentence of several words\nBRK-B\nBRK.B\nMSFT\n")

    assert [entry.symbol for entry in listed.entries] == ["AAPL", "BRK-B", "MSFT"]
    said = {remark.line: remark.text for remark in listed.remarks}
    assert set(said) == {3, 4, 5, 6, 8}
    assert "cannot be a ticker" in said[3]
    assert "again" in said[4]
    assert "number" in said[5]
    assert "no ticker found" in said[6]
    assert "BRK.B again (first at line 7)" in said[8]


def test_prose_in_markdown_is_not_taken_for_tickers() -> None:
    assert symbols("# List\nthis is my list of shares\n\n- AAPL\n", "a.md") == ["AAPL"]


@given(st.text(max_size=400), st.sampled_from(["", "a.md", "a.csv", "a.txt"]))
def test_any_text_gives_valid_distinct_symbols_and_never_an_error(text: str, name: str) -> None:
    found = symbols(text, name)

    assert all(check_symbol(symbol) is None for symbol in found)
    assert len(set(map(share, found))) == len(found)


def test_a_file_name_may_speak_of_both() -> None:
    assert tags_in("nasdaq and s&p 500") == ("NASDAQ", "SP500")
