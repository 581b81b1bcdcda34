"""Settings are read once, from a mapping, and complain by name."""

import tomllib
from pathlib import Path

import pytest

from bq.config import VERSION, Settings, from_env
from bq.errors import Failure

ROOT = Path(__file__).resolve().parent.parent


def test_defaults_stand_where_nothing_is_set() -> None:
    assert from_env({"BQ_MARKET": "  ", "UNRELATED": "x"}) == Settings()


def test_values_are_read_as_their_type() -> None:
    found = from_env({"PORT": "9000", "BQ_RATE": "0.03", "BQ_HOT_PATH": "false", "BQ_MARKET": "sample"})
    assert (found.port, found.rate, found.hot_path, found.market) == (9000, 0.03, False, "sample")


def test_a_value_that_cannot_be_read_is_named() -> None:
    with pytest.raises(Failure, match=r"PORT='many'"):
        from_env({"PORT": "many"})


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == VERSION
