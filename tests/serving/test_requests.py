"""What callers may say, and what they are told when it is wrong."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bq.errors import Failure, Problem
from bq.schema_what_if import WhatIfBody
from bq.serving.requests import AnalyzeBody, decode, read_analyze


def problem_of(body: bytes, limit: int = 500):
    with pytest.raises(Failure) as caught:
        read_analyze(body, limit)
    return caught.value.problem


def read(body: bytes):
    try:
        return read_analyze(body, 10)
    except Failure as failure:
        return failure.problem


def test_one_ticker_asks_for_the_default_detail():
    request = read_analyze(b'{"ticker": "MSFT"}', 500)

    assert (request.tickers, request.detail, request.is_list) == (["MSFT"], "default", False)


def test_no_ticker_means_apple_as_it_always_did():
    assert read_analyze(b"{}", 500).tickers == ["AAPL"]


def test_a_list_asks_for_the_summary():
    request = read_analyze(b'{"tickers": ["MSFT"]}', 500)

    assert (request.tickers, request.detail, request.is_list) == (["MSFT"], "summary", True)


def test_spellings_of_one_symbol_are_one_ticker_in_order_of_first_appearance():
    body = msgspec.json.encode({"tickers": ["msft", " AAPL", "MSFT ", "aapl", "brk.b", "^gspc"]})

    assert read_analyze(body, 500).tickers == ["MSFT", "AAPL", "BRK.B", "^GSPC"]


def test_the_limit_counts_distinct_tickers():
    body = msgspec.json.encode({"tickers": ["A"] * 600})

    assert read_analyze(body, 500).tickers == ["A"]


def test_a_list_over_the_limit_is_told_the_limit():
    problem = problem_of(msgspec.json.encode({"tickers": [f"T{i}" for i in range(501)]}))

    assert problem.code == "too_large"
    assert "500" in problem.error


def test_an_impossible_symbol_in_a_list_is_its_own_problem():
    request = read_analyze(b'{"tickers": ["A", "no such thing!", "B"]}', 500)

    assert list(request.problems) == [1]
    assert request.problems[1].code == "bad_request"


def test_unknown_keys_of_old_scripts_do_no_harm():
    assert read_analyze(b'{"ticker": "A", "use_cache": false}', 500).tickers == ["A"]


BAD = {
    "empty": b"",
    "not JSON": b"ticker=AAPL",
    "a list": b"[]",
    "a string": b'"AAPL"',
    "null": b"null",
    "ticker a number": b'{"ticker": 5}',
    "ticker null": b'{"ticker": null}',
    "ticker empty": b'{"ticker": "  "}',
    "ticker a list": b'{"ticker": ["A"]}',
    "tickers empty": b'{"tickers": []}',
    "tickers a string": b'{"tickers": "A"}',
    "a number among the tickers": b'{"tickers": ["A", 5]}',
    "both forms": b'{"ticker": "A", "tickers": ["B"]}',
    "unknown detail": b'{"ticker": "A", "detail": "all"}',
    "deadline zero": b'{"ticker": "A", "deadline_ms": 0}',
    "deadline negative": b'{"ticker": "A", "deadline_ms": -1}',
    "deadline text": b'{"ticker": "A", "deadline_ms": "1000"}',
    "deadline NaN": b'{"ticker": "A", "deadline_ms": NaN}',
    "deadline infinite": b'{"ticker": "A", "deadline_ms": 1e999}',
    "deadline huge": b'{"ticker": "A", "deadline_ms": ' + b"9" * 500 + b"}",
    "symbol too long": b'{"ticker": "ABCDEFGHIJKLMNOP"}',
    "path in the symbol": b'{"ticker": "../etc/passwd"}',
    "a small dotless i": '{"ticker": "ı"}'.encode(),  # its capital is an ASCII I
    "a full-width letter": '{"ticker": "\uff21"}'.encode(),
    "bad UTF-8": b'{"ticker": "\xff"}',
    "a lone surrogate": b'{"ticker": "\\ud800"}',
    "NUL": b'{"ticker": "A\\u0000"}',
    "deep": b"[" * 10_000,
    "deep below a key": b'{"x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "truncated": b'{"ticker": "A"',
    "trailing": b'{"ticker": "A"} x',
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD.keys())
def test_what_cannot_be_read_is_a_bad_request(body):
    assert problem_of(body).code == "bad_request"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=10,
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "ticker": json_values | st.text(max_size=20),
        "tickers": json_values | st.lists(st.text(max_size=20), max_size=20),
        "detail": json_values | st.sampled_from(["summary", "default", "full"]),
        "deadline_ms": json_values,
    },
)


@given(bodies | json_values)
@settings(deadline=None, max_examples=300)
def test_any_json_is_a_request_or_a_bad_request(value):
    request = read(msgspec.json.encode(value))

    if isinstance(request, Problem):
        assert request.http_status in (400, 413)
    else:
        assert len(set(request.tickers)) == len(request.tickers) <= 10


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=300)
def test_any_bytes_are_a_request_or_a_bad_request(body):
    request = read(body)

    assert not isinstance(request, Problem) or request.http_status in (400, 413)


@pytest.mark.parametrize(
    ("kind", "body", "end"),
    [
        (AnalyzeBody, b'{"detail": "huge"}', "One of these will do: summary, default, full"),
        (WhatIfBody, b'{"ticker": "A", "legs": [{"type": "straddle"}]}', "One of these will do: call, put"),
        (AnalyzeBody, b'{"detail": 5}', "at `$.detail`"),
        (AnalyzeBody, b"[]", "got `array`"),
    ],
)
def test_a_word_that_is_none_of_a_few_is_told_which_will_do(kind, body, end):
    with pytest.raises(Failure) as failed:
        decode(msgspec.json.Decoder(kind), body)
    assert failed.value.problem.error.endswith(end)
