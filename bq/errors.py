"""What can go wrong, in the order a request meets it, as values.

A problem is a frozen record: it can be handed to ten thousand waiters without sharing a traceback. `Failure` is the one
exception that carries a problem up to the border that answers; the table below says what each costs in HTTP.
"""

from typing import Final

import msgspec

HTTP_STATUS: Final = {
    "bad_request": 400,  # bytes do not decode, or a value is outside its domain
    "not_found": 404,  # no such path, task, ranking
    "unknown_ticker": 404,  # the source says that it has no such symbol
    "method_not_allowed": 405,
    "request_timeout": 408,  # the body did not arrive in time
    "conflict": 409,  # a scan is running already; an idempotency key was used for something else
    "length_required": 411,
    "too_large": 413,  # body or list over its limit
    "unsupported_media_type": 415,
    "not_enough_data": 422,  # fewer observations than the model needs
    "bad_data": 422,  # the source's data fail validation: no number is made from them
    "too_many_requests": 429,  # this client asks too much (retry_after)
    "source_failed": 502,  # the source answered with an error, or with nothing that can be trusted
    "too_busy": 503,  # the waiting room is full, or the deadline cannot be met (retry_after)
    "storage_failed": 503,  # the database of scans does not answer; analyses need none (retry_after)
    "not_ready": 503,  # kernels still compiling, or shutting down (retry_after)
    "compute_failed": 500,  # a row came back without an answer: a defect of ours
    "internal": 500,
}
"""The stable name of each problem and the HTTP status that goes with it."""


class Problem(msgspec.Struct, frozen=True, gc=False):
    """One thing that went wrong: a stable name for programs, a text with the remedy for people."""

    code: str
    error: str
    retry_after: float | None = None
    """Seconds after which a new try makes sense."""

    @property
    def http_status(self) -> int:
        """The HTTP status that this problem costs."""
        return HTTP_STATUS[self.code]


class Failure(Exception):  # noqa: N818 - it carries a problem, it is not one more error class
    """Carry a problem to the border that answers. Build one for each raise; never share an instance."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code, problem.error)
        self.problem = problem


def bad_request(text: str) -> Problem:
    """Say that the request cannot be read as it is."""
    return Problem("bad_request", text)


def unknown_ticker(ticker: str, source: str) -> Problem:
    """Say that the source has no such symbol."""
    return Problem("unknown_ticker", f"{ticker}: no such ticker in the {source} market. Check the spelling.")


def not_enough_data(ticker: str, have: int, need: int) -> Problem:
    """Say how many daily closes there are and how many are needed."""
    return Problem("not_enough_data", f"{ticker}: {have} daily closes, {need} needed.")


def source_failed(ticker: str, reason: str, retry_after: float | None = None) -> Problem:
    """Say that prices could not be had, and why."""
    return Problem("source_failed", f"{ticker}: {reason}", retry_after)


def bad_data(ticker: str, reason: str) -> Problem:
    """Say that the source's data cannot be trusted, and why."""
    return Problem("bad_data", f"{ticker}: {reason}")
