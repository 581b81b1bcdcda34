"""What callers may say: bytes to a request, or a problem that names what is wrong and what would be right.

Rules of this file: pure functions of bytes and strings; no HTTP, no clock. How symbols are spelled is for `bq.symbols`.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import UNSET, Meta, UnsetType

from bq.errors import Failure, Problem, bad_request
from bq.schema import Detail
from bq.symbols import check_symbol, distinct, normalize

T = TypeVar("T")

DEFAULT_TICKER: Final = "AAPL"  # what today's clients mean when they name none


class AnalyzeBody(msgspec.Struct, frozen=True):
    """The body of `POST /api/analyze`: one `ticker`, or a list of `tickers`."""

    ticker: Annotated[str, Meta(description="one symbol; AAPL when neither form is given")] | UnsetType = UNSET
    tickers: (
        Annotated[
            list[str],
            Meta(
                description="at least one symbol; case, spaces and repetitions do not matter",
                extra_json_schema={"minItems": 1},
            ),
        ]
        | UnsetType
    ) = UNSET
    detail: Annotated[Detail, Meta(description="default for one ticker, summary for a list")] | UnsetType = UNSET
    deadline_ms: (
        Annotated[float, Meta(gt=0, le=1e9, description="answer by then with what is there; 25 s at most")] | UnsetType
    ) = UNSET


class AnalyzeRequest(msgspec.Struct, frozen=True):
    """A request in canonical form."""

    tickers: list[str]  # distinct, in the order of their first appearance
    problems: dict[int, Problem]  # by position: symbols that no market can have
    detail: Detail
    deadline_s: float | None
    is_list: bool


_analyze_decoder = msgspec.json.Decoder(AnalyzeBody)


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Decode a body, or fail with a text that says where it is wrong.

    Raises
    ------
    Failure
        With `bad_request`, whatever the bytes were.
    """
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        text = f"The body does not read as JSON of this form: {error}{choices(decoder.type, error)}"
        raise Failure(bad_request(text)) from None
    except RecursionError:
        raise Failure(bad_request("The body is nested too deeply.")) from None


def choices(kind: Any, error: Exception) -> str:
    """Name what may stand where a word was given that is none of a few, as the end of a sentence; else nothing."""
    wrong = re.match(r"Invalid enum value .*?(?: - at `\$(.*)`)?$", str(error), re.DOTALL)
    if wrong is None:
        return ""
    for name in re.findall(r"[a-z_]+", wrong[1] or ""):
        fields = [get_type_hints(part) for part in _parts(kind) if isinstance(part, type)]
        kind = next((hints[name] for hints in fields if name in hints), None)
    allowed = [str(word) for part in _parts(kind) if get_origin(part) is Literal for word in get_args(part)]
    return f". One of these will do: {', '.join(allowed)}" if allowed else ""


def _parts(kind: Any) -> Iterator[Any]:
    """Take a type apart: unions, lists and notes go, classes and literals stay."""
    if get_origin(kind) is Literal or not get_args(kind):
        yield kind
        return
    for part in get_args(kind):
        yield from _parts(part)


def one_symbol(symbol: str) -> str:
    """Normalise the symbol of a request for one ticker.

    Raises
    ------
    Failure
        With `bad_request`, when it cannot be a ticker.
    """
    ticker = normalize(symbol)
    if problem := check_symbol(ticker):
        raise Failure(problem)
    return ticker


def one_detail(text: str) -> Detail:
    """Read the `detail` of a query string.

    Raises
    ------
    Failure
        With `bad_request`, naming what may be asked for.
    """
    try:
        return msgspec.convert(text, Detail)
    except msgspec.ValidationError:
        raise Failure(bad_request("detail must be summary, default or full.")) from None


def read_analyze(body: bytes, limit: int, detailed: int | None = None) -> AnalyzeRequest:
    """Read the body of `POST /api/analyze`.

    Parameters
    ----------
    limit, detailed
        Most distinct tickers that are taken, and most with more detail than a summary, where that is another number.

    Raises
    ------
    Failure
        `bad_request`, or `too_large` for a list over the limit.
    """
    asked = decode(_analyze_decoder, body)
    deadline = None if asked.deadline_ms is UNSET else asked.deadline_ms / 1000.0
    if asked.tickers is UNSET:
        ticker = one_symbol(DEFAULT_TICKER if asked.ticker is UNSET else asked.ticker)
        return AnalyzeRequest([ticker], {}, "default" if asked.detail is UNSET else asked.detail, deadline, False)
    if asked.ticker is not UNSET:
        raise Failure(bad_request("Send either ticker or tickers, not both."))
    if not asked.tickers:
        raise Failure(bad_request("tickers is empty: name at least one symbol."))
    tickers = distinct(asked.tickers)
    if len(tickers) > limit:
        raise Failure(too_many(len(tickers), limit))
    detail: Detail = "summary" if asked.detail is UNSET else asked.detail
    if detailed is not None and detail != "summary" and len(tickers) > detailed:
        text = (
            f"{len(tickers)} tickers with detail {detail} in one task; the limit is {detailed}, with summary {limit}."
        )
        raise Failure(Problem("too_large", f"{text} Send several tasks."))
    problems = {i: problem for i, ticker in enumerate(tickers) if (problem := check_symbol(ticker))}
    return AnalyzeRequest(tickers, problems, detail, deadline, True)


def too_many(count: int, limit: int) -> Problem:
    """Say how long a list may be, and what to do with a longer one."""
    return Problem(
        "too_large",
        f"{count} tickers in one request; the limit is {limit}. Send several requests, or ask for a task "
        "(Prefer: respond-async).",
    )
