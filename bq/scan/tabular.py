"""Tables as files: CSV, and Parquet where pyarrow is installed; rows go in page by page, bytes come out.

Rules of this file: it knows columns and values, and nothing of what they mean. A value that is missing is an empty
field in CSV and null in Parquet.
"""

import csv
import datetime as dt
import io
from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias

from bq.errors import Failure, bad_request

Format: TypeAlias = Literal["csv", "parquet"]
MEDIA: Final[dict[Format, str]] = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}

NO_PARQUET: Final = "Parquet needs pyarrow, which is not installed: pip install pyarrow, or take csv."


class Column(NamedTuple):
    """A column and its type."""

    name: str
    kind: Literal["number", "integer", "truth", "text", "date", "moment"]


class Writer(Protocol):
    """Makes a file of a table."""

    def add(self, rows: Sequence[Sequence[Any]]) -> bytes:
        """Take rows; give what of the file is ready."""
        ...

    def end(self) -> bytes:
        """Give the rest of the file."""
        ...


def writer(columns: Sequence[Column], form: Format) -> Writer:
    """Begin a file.

    Raises
    ------
    Failure
        `bad_request`, when Parquet is asked for and pyarrow is not there.
    """
    return _Csv(columns) if form == "csv" else _Parquet(columns)


class _Csv:
    def __init__(self, columns: Sequence[Column]) -> None:
        self._text = io.StringIO()
        self._csv = csv.writer(self._text, lineterminator="\n")
        self._csv.writerow([column.name for column in columns])

    def add(self, rows: Sequence[Sequence[Any]]) -> bytes:
        """Take rows."""
        self._csv.writerows([[_plain(value) for value in row] for row in rows])
        return self._take()

    def end(self) -> bytes:
        """Give the head where there were no rows."""
        return self._take()

    def _take(self) -> bytes:
        ready = self._text.getvalue().encode()
        self._text.seek(0)
        self._text.truncate()
        return ready


def _plain(value: Any) -> Any:
    """Write truths as programs do, and moments as ISO 8601."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dt.date):  # datetimes are dates
        return value.isoformat()
    return value


class _Parquet:
    def __init__(self, columns: Sequence[Column]) -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError:
            raise Failure(bad_request(NO_PARQUET)) from None
        kinds = {
            "number": pyarrow.float64(),
            "integer": pyarrow.int64(),
            "truth": pyarrow.bool_(),
            "text": pyarrow.string(),
            "date": pyarrow.date32(),
            "moment": pyarrow.timestamp("us", tz="UTC"),
        }
        self._arrow = pyarrow
        self._schema = pyarrow.schema([(column.name, kinds[column.kind]) for column in columns])
        self._sink = _Sink()
        self._file = parquet.ParquetWriter(self._sink, self._schema, compression="zstd")

    def add(self, rows: Sequence[Sequence[Any]]) -> bytes:
        """Take rows as one group."""
        if not rows:
            return b""
        values = zip(*rows, strict=True)
        arrays = [self._arrow.array(one, type=field.type) for one, field in zip(values, self._schema, strict=True)]
        self._file.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))
        return self._sink.take()

    def end(self) -> bytes:
        """Give the foot, which tells where the groups are."""
        self._file.close()
        return self._sink.take()


class _Sink(io.RawIOBase):
    """A file that is only written, and keeps nothing that was taken."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._at = 0

    def writable(self) -> bool:
        """Say that it is for writing."""
        return True

    def write(self, data: Any) -> int:
        """Take bytes."""
        part = bytes(data)
        self._parts.append(part)
        self._at += len(part)
        return len(part)

    def tell(self) -> int:
        """Tell how much was written so far."""
        return self._at

    def take(self) -> bytes:
        """Give what was written since the last time."""
        ready = b"".join(self._parts)
        self._parts.clear()
        return ready
