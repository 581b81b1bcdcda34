"""The command line, as a person would call it."""

import json

import pytest

from bq.cli import main

ARGS = ["--market", "sample", "--as-of", "2026-06-30T21:00:00Z"]


def test_json_gives_the_items_of_the_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", "aapl,msft", "AAPL", *ARGS, "--json"]) == 0
    items = json.loads(capsys.readouterr().out)
    assert [item["ticker"] for item in items] == ["AAPL", "MSFT"]
    assert {item["status"] for item in items} == {"ok"}
    assert "chart_data" not in items[0]["data"]


def test_the_table_names_the_verdict_and_the_ticker_that_failed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", "AAPL", "NOPE", *ARGS]) == 1
    out = capsys.readouterr().out
    assert "AAPL" in out
    assert "NOPE: no such ticker in the sample market" in out
    assert "No investment advice" in out


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["analyze", "AAPL", "--market", "nasdaq"], "BQ_MARKET='nasdaq'"),
        (["analyze", "AAPL", "--market", "sample", "--as-of", "yesterday"], "yesterday"),
        (["analyze", " , ", "--market", "sample"], "at least one ticker"),
    ],
)
def test_what_cannot_be_done_is_said_without_a_traceback(
    argv: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    assert text in capsys.readouterr().err


def test_the_library_answers_like_the_command_line() -> None:
    import bq

    items = bq.analyze(["AAPL", "nope "], market="sample", detail="full", as_of="2026-06-30T21:00:00Z")
    assert [item["status"] for item in items] == ["ok", "error"]
    assert items[0]["data"]["extended"]["source"] == "sample"
    assert items[1]["code"] == "unknown_ticker"
