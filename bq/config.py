"""Everything an operator may turn, read once at the start from the environment and from nowhere else."""

from collections.abc import Mapping
from typing import Any

import msgspec

from bq.errors import Failure, Problem

ENVIRONMENT_NAMES = {"port": "PORT", "database_url": "DATABASE_URL"}
"""Settings whose name in the environment is given by convention; every other one is `BQ_` and its name in capitals."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings and their defaults. The README's table lists each of them (a test compares)."""

    port: int = 8000  # given by Heroku
    host: str = "0.0.0.0"
    market: str = "yahoo"  # sample | files:DIR | yahoo
    as_of: str = ""  # ISO time that stands for "now" in files: and sample: empty means the data's own
    rate: float = 0.04  # continuous, used where the market has no curve
    state_dir: str = ".state"  # bars kept on disk, tasks, snapshot of the cache


def environment_name(field: str) -> str:
    """Name the environment variable of a setting."""
    return ENVIRONMENT_NAMES.get(field, f"BQ_{field.upper()}")


def from_env(environ: Mapping[str, str]) -> Settings:
    """Read the settings; empty variables count as unset.

    Raises
    ------
    Failure
        With `bad_request` and a text that names the variable, when a value cannot be read.
    """
    values: dict[str, Any] = {}
    for field in Settings.__struct_fields__:
        name = environment_name(field)
        if text := environ.get(name, "").strip():
            values[field] = text
    try:
        return msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        field = str(error).rpartition("$.")[2].rstrip("`")
        raise Failure(Problem("bad_request", f"{environment_name(field)}={values.get(field)!r}: {error}")) from None
