"""Daily bars kept on disk, one small file a symbol, so that only the missing tail is asked for again."""

import logging
import os
import zipfile
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

import numpy as np

from bq.market import calendar
from bq.market.source import Bars, Dividend

_log = logging.getLogger(__name__)

COLUMNS: Final = ("date", "open", "high", "low", "close", "volume", "adj_close")


class Stored(NamedTuple):
    """What is kept of a symbol."""

    name: str
    bars: Bars
    dividends: tuple[Dividend, ...]  # paid, oldest first
    asked_at: float  # seconds since 1970: when the source last told about the tail


class BarsStore:
    """A folder of `.npz` files. A file that cannot be read counts as not there; a disk that is full costs a warning."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, symbol: str) -> Stored | None:
        """Read what is kept of a symbol; None where that is nothing, or nothing that can be read."""
        path = self._path(symbol)
        try:
            with np.load(path, allow_pickle=False) as file:
                columns = {name: file[name] for name in COLUMNS}
                days, cash = file["dividend_date"], file["dividend_cash"]
                name, asked_at = str(file["name"]), float(file["asked_at"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            _log.warning("bars kept on disk cannot be read: %s: %r", path, error)
            return None
        paid = (Dividend(calendar.as_date(day), float(each), True) for day, each in zip(days, cash, strict=True))
        return Stored(name, Bars(**columns), tuple(paid), asked_at)

    def save(self, symbol: str, stored: Stored) -> None:
        """Keep a symbol's bars in place of what was kept, at one stroke."""
        path = self._path(symbol)
        bars = stored.bars
        adjusted = bars.close if bars.adj_close is None else bars.adj_close
        columns = {name: getattr(bars, name) for name in COLUMNS[:-1]}
        beside = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as file:
                np.savez(
                    file,
                    allow_pickle=False,
                    **columns,
                    adj_close=adjusted,
                    dividend_date=np.array([each.ex_date for each in stored.dividends], "datetime64[D]"),
                    dividend_cash=np.array([each.cash for each in stored.dividends], np.float64),
                    name=np.array(stored.name),
                    asked_at=np.array(stored.asked_at),
                )
            beside.replace(path)
        except OSError as error:
            _log.warning("bars cannot be kept on disk: %s: %r", path, error)
            beside.unlink(missing_ok=True)

    def _path(self, symbol: str) -> Path:
        return self._folder / f"{quote(symbol, safe='')}.npz"
