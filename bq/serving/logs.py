"""Log lines as JSON, written by a thread of their own; a full queue costs the line, never the request.

Rules of this file: standard logging; one line for each slow or failed request, nothing for the others.
"""

import logging
import logging.handlers
import os
import queue
import sys
import threading
from typing import Any, Final, NoReturn, TextIO

import msgspec

QUEUE: Final = 10_000
FLUSH_S: Final = 2.0  # for the last lines, at the end

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Write a record as one JSON object: what was passed as `extra` beside the standard fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Encode a record; what JSON does not know is written as text."""
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        return msgspec.json.encode(line, enc_hook=str).decode()


class DroppingHandler(logging.handlers.QueueHandler):
    """Hand records to the writing thread; count those for which there was no room."""

    def __init__(self, room: int = QUEUE) -> None:
        super().__init__(queue.Queue(room))
        self.dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Leave the record as it is: formatting is the thread's work."""
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Put a record in the queue if there is room."""
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1


_listeners: list[logging.handlers.QueueListener] = []


def leave(code: int) -> NoReturn:
    """Write what is left to write and end the process at once.

    A computing thread may be in the middle of compiling, or hang; waiting for it would outlast a platform's patience.
    """
    writing = threading.Thread(target=_flush, daemon=True)
    writing.start()
    writing.join(FLUSH_S)  # whoever reads our lines may have stopped reading
    os._exit(code)


def _flush() -> None:
    for listener in _listeners:
        listener.stop()
    sys.stdout.flush()


def start_logging(stream: TextIO = sys.stdout, level: int = logging.INFO) -> None:
    """Send every logger's lines through the queue to a stream, until `leave`."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    dropping = DroppingHandler()
    listener = logging.handlers.QueueListener(dropping.queue, handler)
    root = logging.getLogger()
    root.handlers = [dropping]
    root.setLevel(level)
    logging.getLogger("numba").setLevel(logging.WARNING)
    listener.start()
    _listeners.append(listener)
