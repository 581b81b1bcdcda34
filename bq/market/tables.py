"""Tables of bars and chains from CSV and Parquet files, recognised by their columns.

Rules of this file: it knows columns and files, not what "now" is nor which rows a ticker's answer needs. Whatever
cannot be read raises `Failure` with the file, the column and the value.
"""

import csv
import gzip
import io
import lzma
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from bq.errors import Failure, Problem
from bq.market import calendar
from bq.market.source import F64, Bool, Days, Seconds

SUFFIXES: Final = (".csv", ".csv.gz", ".csv.xz", ".parquet")
NAMES: Final = {
    "ticker": ("ticker", "symbol", "underlying", "underlyingsymbol"),
    "date": ("date",),
    "open": ("open",),
    "high": ("high",),
    "low": ("low",),
    "close": ("close",),
    "volume": ("volume",),
    "adj_close": ("adjclose", "adjustedclose"),
    "quote_date": ("quotedate",),
    "quote_time": ("quotetimeutc", "quotetime"),
    "spot": ("spot", "underlyingprice"),
    "expiry": ("expiry", "expiration", "expirationdate"),
    "type": ("type", "optiontype"),
    "strike": ("strike",),
    "bid": ("bid",),
    "ask": ("ask",),
    "bid_size": ("bidsize",),
    "ask_size": ("asksize",),
    "last": ("lastprice", "last"),
    "last_trade": ("lasttradedate",),
    "open_interest": ("openinterest",),
    "vendor_iv": ("impliedvolatility", "iv"),
    "contract": ("contractsymbol",),
}
"""Our names, and how files may spell them: any case, with or without blanks and underscores."""

BARS_NEED: Final = ("date", "open", "high", "low", "close", "volume")
BARS_TAKE: Final = ("ticker", *BARS_NEED, "adj_close")
CHAINS_NEED: Final = ("ticker", "quote_date", "expiry", "type", "strike", "bid", "ask")
CHAIN_NUMBERS: Final = (
    "spot", "strike", "bid", "ask", "bid_size", "ask_size", "last", "volume", "open_interest", "vendor_iv",
)  # fmt: skip
CHAINS_TAKE: Final = ("ticker", "quote_date", "quote_time", "expiry", "type", "last_trade", "contract", *CHAIN_NUMBERS)


class BarTable(NamedTuple):
    """The rows of one file of bars."""

    path: Path
    ticker: npt.NDArray[np.object_]
    date: Days
    numbers: dict[str, F64]  # open, high, low, close, volume, and adj_close where the file has it


class ChainTable(NamedTuple):
    """The rows of one file of option quotes; NaN and NaT where the file does not say."""

    path: Path
    ticker: npt.NDArray[np.object_]
    quote_second: npt.NDArray[np.int64]  # UTC
    assumed: Bool  # the file gives a date only: the last close by the end of that day
    expiry: Days
    is_call: Bool
    last_trade: Seconds
    numbers: dict[str, F64]
    contract: npt.NDArray[np.object_] | None


def _refuse(text: str) -> Failure:
    return Failure(Problem("bad_request", text))


def table_files(folder: Path) -> list[Path]:
    """List the files below a folder whose names say that they may be tables, sorted.

    Raises
    ------
    Failure
        With `bad_request`, if there is no such folder.
    """
    if not folder.is_dir():
        raise _refuse(f"files:{folder}: no such folder.")
    return sorted(path for path in folder.rglob("*") if path.name.lower().endswith(SUFFIXES) and path.is_file())


def read_tables(paths: Sequence[Path]) -> tuple[list[BarTable], list[ChainTable]]:
    """Read every file that has the columns of bars or of chains; leave others alone.

    Raises
    ------
    Failure
        With `bad_request`: a file that lacks some of the columns it needs, or holds what cannot be read.
    """
    bars: list[BarTable] = []
    chains: list[ChainTable] = []
    for path in paths:
        columns = recognise(path)
        if "strike" in columns and "expiry" in columns:
            _need(path, columns, CHAINS_NEED)
            chains.append(_read_chains(path, columns))
        elif "date" in columns and "close" in columns:
            _need(path, columns, BARS_NEED)
            bars.append(_read_bars(path, columns))
    return bars, chains


def _need(path: Path, columns: Mapping[str, str], needed: Sequence[str]) -> None:
    if missing := [name for name in needed if name not in columns]:
        raise _refuse(f"{path}: no column {', '.join(missing)}.")


def recognise(path: Path) -> dict[str, str]:
    """Map our column names to the file's own, as far as it has them."""
    own = {_plain(name): name for name in reversed(_header(path))}
    return {name: own[spelling] for name, spellings in NAMES.items() for spelling in spellings[::-1] if spelling in own}


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "").replace("_", "")


def _header(path: Path) -> list[str]:
    try:
        if path.name.lower().endswith(".parquet"):
            import pyarrow.parquet

            return list(pyarrow.parquet.read_schema(path).names)
        with _text(path) as file:
            return next(csv.reader(file), [])
    except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise _refuse(f"{path}: cannot be read ({error}).") from error


def _text(path: Path) -> io.TextIOBase:
    name = path.name.lower()
    if name.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    if name.endswith(".xz"):
        return lzma.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _frame(path: Path, columns: Mapping[str, str], take: Sequence[str]) -> dict[str, Any]:
    """Read the wanted columns, under our names."""
    import pandas as pd

    wanted = {name: columns[name] for name in take if name in columns}
    # Text as categories: 150,000 rows of dates are 4,000 different ones, parsed once each.
    texts = ("ticker", "date", "quote_date", "quote_time", "expiry", "type", "last_trade", "contract")
    try:
        if path.name.lower().endswith(".parquet"):
            frame = pd.read_parquet(path, columns=list(wanted.values()))
        else:
            frame = pd.read_csv(
                path,
                usecols=list(wanted.values()),
                dtype={columns[name]: "category" for name in texts if name in wanted},
                encoding="utf-8-sig",
                low_memory=False,
                # A company may be called NA or NAN: only an empty field of numbers is missing.
                keep_default_na=False,
                na_values={
                    own: ["", "NaN", "nan", "null", "None", "N/A"] for name, own in wanted.items() if name != "ticker"
                },
            )
    except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError, ValueError) as error:
        raise _refuse(f"{path}: cannot be read ({error}).") from error
    return {name: frame[own] for name, own in wanted.items()}


def _numbers(path: Path, name: str, column: Any) -> F64:
    import pandas as pd

    if column.dtype.kind not in "fiu":
        numbers = pd.to_numeric(column, errors="coerce")
        bad = np.flatnonzero(numbers.isna().to_numpy() & column.notna().to_numpy())
        if bad.size:
            row = int(bad[0])
            raise _refuse(f"{path}, line {row + 2}: {name} is {str(column.iloc[row])!r}, not a number.")
        column = numbers
    values = column.to_numpy(np.float64)
    if np.isinf(values).any():
        raise _refuse(f"{path}, line {int(np.flatnonzero(np.isinf(values))[0]) + 2}: {name} is infinite.")
    return np.ascontiguousarray(values)


def _moments(path: Path, name: str, column: Any) -> Seconds:
    """Parse ISO dates and times to UTC seconds; NaT where the field is empty."""
    import pandas as pd

    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return column.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[s]")
    if column.dtype.kind == "M":
        return column.to_numpy("datetime64[s]")
    text = column.astype("category")
    categories = pd.Series(text.cat.categories.astype(str))
    parsed = pd.to_datetime(categories, format="ISO8601", errors="coerce", utc=True)
    if parsed.isna().any():
        value = str(categories[parsed.isna()].iloc[0])
        row = int(np.flatnonzero((text.astype(str) == value).to_numpy())[0])
        raise _refuse(f"{path}, line {row + 2}: {name} is {value!r}, not an ISO date or time.")
    known = np.append(parsed.dt.tz_localize(None).to_numpy("datetime64[s]"), np.datetime64("NaT", "s"))
    return known[text.cat.codes.to_numpy()]  # the code of a missing field is -1: the last one


def _days(path: Path, name: str, column: Any) -> Days:
    days = _moments(path, name, column).astype("datetime64[D]")
    if np.isnat(days).any():
        raise _refuse(f"{path}, line {int(np.flatnonzero(np.isnat(days))[0]) + 2}: {name} is empty.")
    return days


def _tickers(path: Path, column: Any) -> npt.NDArray[np.object_]:
    text = column.astype("category")
    known = np.array([str(name).strip().upper() for name in text.cat.categories], np.object_)
    codes = text.cat.codes.to_numpy()
    if (codes < 0).any() or "" in known:
        raise _refuse(f"{path}: a row without a ticker.")
    return known[codes]


def _read_bars(path: Path, columns: Mapping[str, str]) -> BarTable:
    frame = _frame(path, columns, BARS_TAKE)
    date = _days(path, "date", frame["date"])
    names = [name for name in (*BARS_NEED[1:], "adj_close") if name in frame]
    if "ticker" in frame:
        ticker = _tickers(path, frame["ticker"])
    else:
        ticker = np.full(
            date.size, path.name.split(".csv")[0].split(".CSV")[0].removesuffix(".parquet").upper(), object
        )
    return BarTable(path, ticker, date, {name: _numbers(path, name, frame[name]) for name in names})


def _read_chains(path: Path, columns: Mapping[str, str]) -> ChainTable:
    frame = _frame(path, columns, CHAINS_TAKE)
    date = _days(path, "quote_date", frame["quote_date"])
    size = date.size
    numbers = {
        name: _numbers(path, name, frame[name]) if name in frame else np.full(size, np.nan) for name in CHAIN_NUMBERS
    }
    for name in ("strike", "bid", "ask"):
        if np.isnan(numbers[name]).any() and name == "strike":
            raise _refuse(f"{path}, line {int(np.flatnonzero(np.isnan(numbers[name]))[0]) + 2}: {name} is empty.")
    given = _moments(path, "quote_time", frame["quote_time"]) if "quote_time" in frame else None
    second, assumed = _quote_seconds(date, given)
    return ChainTable(
        path=path,
        ticker=_tickers(path, frame["ticker"]),
        quote_second=second,
        assumed=assumed,
        expiry=_days(path, "expiry", frame["expiry"]),
        is_call=_is_call(path, frame["type"]),
        last_trade=_moments(path, "last_trade", frame["last_trade"])
        if "last_trade" in frame
        else np.full(size, np.datetime64("NaT", "s")),
        numbers=numbers,
        contract=frame["contract"].astype(str).to_numpy(np.object_) if "contract" in frame else None,
    )


def _quote_seconds(date: Days, given: Seconds | None) -> tuple[npt.NDArray[np.int64], Bool]:
    """Take the given times; where there is only a date, the last close by the end of that day in New York."""
    assumed = np.ones(date.size, np.bool_) if given is None else np.isnat(given)
    second = np.zeros(date.size, np.int64) if given is None else given.astype(np.int64)
    distinct, back = np.unique(date[assumed], return_inverse=True)
    closes = [int(calendar.session_close(calendar.sessions_between(day - 14, day)[-1]).timestamp()) for day in distinct]
    second[assumed] = np.array(closes, np.int64)[back]
    return second, assumed


def _is_call(path: Path, column: Any) -> Bool:
    text = column.astype("category")
    kinds = np.array([str(kind).strip().lower()[:1] for kind in text.cat.categories])
    codes = text.cat.codes.to_numpy()
    bad = (codes < 0) | ~np.isin(kinds, ("c", "p"))[codes]
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise _refuse(f"{path}, line {row + 2}: type is {str(column.iloc[row])!r}, neither call nor put.")
    return (kinds == "c")[codes]
