"""A person's list of tickers: plain text, CSV, or Markdown, as such lists are really kept.

Rules of this file: a text in, symbols and remarks out; no files, no market. Whatever cannot be used is said with the
number of its line, and never drops the rest.

Read are: symbols one or several a line, with blanks, commas or semicolons between them; `AAPL - Apple Inc.`,
`AAPL Apple Inc.`, `Apple Inc. (AAPL)`, `$AAPL`, `NASDAQ:AAPL`, `[AAPL](https://...)`; Markdown bullets, numbers, check
boxes and tables; CSV with a column named like one of `SYMBOL_COLUMNS`, or without a header, symbols first. A `#` starts
a comment; in Markdown, and in a comment of its own line, the name of an index after it tags what follows.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct

from bq.symbols import check_symbol, normalize, share

SYMBOL_COLUMNS: Final = ("symbol", "ticker", "tickers", "symbols", "ticker symbol", "code", "代码", "股票代码")
TAG_COLUMNS: Final = ("tags", "tag", "index", "indices", "指数")
INDEX_TAGS: Final = (("NASDAQ", re.compile(r"nas|ndx|纳斯达克")), ("SP500", re.compile(r"s&p|s_?p[-_ ]?500|spx|标普")))
"""Tags, and how titles and file names speak of their index. Today's users keep `nas100.md` and `sp500.md`."""

_CAPITALS: Final = re.compile(r"(?=.*[A-Z])[A-Z0-9^][A-Z0-9.\-=^/]{0,14}")
_SMALL: Final = re.compile(r"[a-z]{1,5}([.-][a-z])?")
_BULLET: Final = re.compile(r"([-*+•]|\d{1,4}[.)])\s+(\[[ xX]\]\s+)?")
_LINK: Final = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_IN_BRACKETS: Final = re.compile(r"[(（]\s*(?:[A-Za-z]+\s*:\s*)?([A-Z][A-Z0-9.\-/]{0,9})\s*[)）]")
_MARKS: Final = re.compile(r"[*`~]|<!--.*?-->")
_RULE: Final = re.compile(r"[\s|:\-]+")
_FENCE: Final = re.compile(r"```|---+$|===+$")


class Remark(Struct, frozen=True):
    """What is to be said of one line."""

    line: int
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}"


class Listed(Struct, frozen=True):
    """One symbol of a list, spelled as it was written but for case, and the tags that the list gives it."""

    symbol: str
    line: int
    tags: tuple[str, ...] = ()


class TickerList(Struct, frozen=True):
    """The distinct symbols of a list in order, and what was wrong with the rest."""

    entries: tuple[Listed, ...]
    remarks: tuple[Remark, ...]


def tags_in(text: str) -> tuple[str, ...]:
    """Name the indices that a title or a file's name speaks of.

    Examples
    --------
    >>> tags_in("S&P 500 and Nasdaq-100"), tags_in("nas100.md"), tags_in("my shares")
    (('NASDAQ', 'SP500'), ('NASDAQ',), ())
    """
    return tuple(tag for tag, pattern in INDEX_TAGS if pattern.search(text.lower()))


def read(text: str, name: str = "") -> TickerList:
    """Read a list.

    Parameters
    ----------
    text : str
        The whole of it.
    name : str
        Of its file, if it has one: `.csv` and `.md` decide the kind (else the text does), and an index in the name tags
        every symbol.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    kind = _kind(lines, name.lower())
    found = _csv(lines) if kind == "csv" else _lines(lines, kind == "markdown")
    return collect(found, tags_in(name))


def _kind(lines: list[str], name: str) -> str:
    if name.endswith((".csv", ".tsv")):
        return "csv"
    if name.endswith((".md", ".markdown")):
        return "markdown"
    first = next((line for line in lines if line.strip() and not line.lstrip().startswith("#")), "")
    cells = [cell.strip(" \"'").lower() for cell in re.split(r"[,;\t]", first)]
    if len(cells) > 1 and any(cell in SYMBOL_COLUMNS for cell in cells):
        return "csv"
    is_markdown = any(line.lstrip().startswith("|") or _BULLET.match(line.strip()) for line in lines)
    return "markdown" if is_markdown else "plain"


def collect(found: Iterable[Listed | Remark], tags: tuple[str, ...] = (), unit: str = "line") -> TickerList:
    """Normalise, check and leave out repetitions; a repetition adds its tags, and those given go to all."""
    entries: dict[str, Listed] = {}
    remarks: list[Remark] = []
    for one in found:
        if isinstance(one, Remark):
            remarks.append(one)
            continue
        symbol = normalize(one.symbol.removeprefix("$").rpartition(":")[2])
        symbol = share(symbol) if "/" in symbol else symbol
        if problem := check_symbol(symbol):
            remarks.append(Remark(one.line, problem.error))
        elif not re.search(r"[A-Z]", symbol):
            remarks.append(Remark(one.line, f"{symbol!r} is a number, not a ticker"))
        else:
            known = entries.get(share(symbol))
            if known is not None:
                remarks.append(Remark(one.line, f"{symbol} again (first at {unit} {known.line})"))
            first = known or Listed(symbol, one.line)
            merged = tuple(sorted({*first.tags, *one.tags, *tags}))
            entries[share(symbol)] = Listed(first.symbol, first.line, merged)
    return TickerList(tuple(entries.values()), tuple(remarks))


# --- CSV --------------------------------------------------------------------------------------------------------------


def _csv(lines: list[str]) -> Iterator[Listed | Remark]:
    kept = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    if not kept:
        return
    delimiter = max(",;\t", key=kept[0][1].count)
    rows = csv.reader([line for _, line in kept], delimiter=delimiter)
    symbol_column, tag_column, is_header = 0, None, True
    for (number, _), cells in zip(kept, rows, strict=False):  # a quoted cell may hold several lines
        if is_header:
            is_header = False
            names = [cell.strip().lower() for cell in cells]
            columns = [i for i, name in enumerate(names) if name in SYMBOL_COLUMNS]
            if columns:
                symbol_column = columns[0]
                tag_column = next((i for i, name in enumerate(names) if name in TAG_COLUMNS), None)
                continue
        if len(cells) <= symbol_column or not cells[symbol_column].strip():
            yield Remark(number, "no symbol in this row")
            continue
        tags = () if tag_column is None or len(cells) <= tag_column else tags_in(cells[tag_column])
        yield Listed(cells[symbol_column], number, tags)


# --- lines of text and Markdown ---------------------------------------------------------------------------------------


def _lines(lines: list[str], is_markdown: bool) -> Iterator[Listed | Remark]:
    tags: tuple[str, ...] = ()
    column: int | None = None  # of the symbols in the table that is being read
    for number, raw in enumerate(lines, 1):
        line = raw.strip()
        if line.startswith("#"):
            tags = tags_in(line)
            continue
        if not is_markdown:
            line = re.split(r"\s#", line)[0].strip()
        if not line or _FENCE.match(line):
            column = None
            continue
        if line.startswith("|") or (column is not None and "|" in line):
            cells = [_clean(cell) for cell in line.strip("|").split("|")]
            if _RULE.fullmatch(line):
                continue
            if column is None:
                named = [i for i, cell in enumerate(cells) if cell.lower() in SYMBOL_COLUMNS]
                column = named[0] if named else 0
                if named or not _symbols(cells[0], is_markdown=True):
                    continue
            if len(cells) <= column or not cells[column]:
                yield Remark(number, "no symbol in this row")
                continue
            line = cells[column]
        else:
            column = None
        symbols = _symbols(_clean(line), is_markdown)
        if not symbols:
            yield Remark(number, f"no ticker found in {line[:60]!r}")
        for symbol in symbols:
            yield Listed(symbol, number, tags)


def _clean(text: str) -> str:
    """Take off what only decorates."""
    text = _MARKS.sub("", _LINK.sub(r"\1", text)).strip()
    return _BULLET.sub("", text, count=1).strip() if _BULLET.match(text) else text


def _symbols(line: str, is_markdown: bool) -> list[str]:
    """Find the symbols of a line; none where it does not look like any."""
    words = [clean for word in re.split(r"[\s,;]+", line) if (clean := word.strip("$\"'").rstrip(":"))]
    tails = [word.rpartition(":")[2] for word in words]  # NASDAQ:AAPL
    if not words:
        return []
    if len(words) == 1 or all(map(_CAPITALS.fullmatch, tails)):
        return words
    if all(len(part.split()) <= 1 for part in re.split(r"[,;]", line)):
        return words  # commas between single words, in any case
    if _CAPITALS.fullmatch(tails[0]):
        return tails[:1]  # a name follows
    if inside := _IN_BRACKETS.search(line):
        return [inside[1]]
    if not is_markdown and all(map(_SMALL.fullmatch, words)):
        return words
    return []
