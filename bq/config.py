"""Everything an operator may turn, read once at the start from the environment and from nowhere else."""

from collections.abc import Mapping
from typing import Any

import msgspec

from bq.errors import Failure, Problem

VERSION = "5.0.0"
"""Of the product; pyproject.toml says the same (a test compares)."""

ENVIRONMENT_NAMES = {"port": "PORT", "database_url": "DATABASE_URL"}
"""Settings whose name in the environment is given by convention; every other one is `BQ_` and its name in capitals."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings and their defaults. The README's table lists each of them (a test compares)."""

    port: int = 8000  # given by Heroku
    host: str = "0.0.0.0"
    market: str = "yahoo"  # sample | files:DIR | yahoo
    as_of: str = ""  # ISO time that stands for "now" in files: and sample: empty means the data's own
    rate: float = 0.04  # continuous, used where the market has no curve
    state_dir: str = ".state"  # bars kept on disk, tasks, snapshot of the cache, scans
    database_url: str = (
        ""  # where scans are stored: postgresql://..., sqlite:///FILE; empty for a file in the state dir
    )
    scan_at: str = ""  # when to scan on each session: 16:30 in New York, or close+30 minutes; empty for never
    scan_universe: str = "all"  # what to scan then: sp500, nasdaq100, all, or a file of tickers
    yahoo_rate: float = 1.0  # requests a second to Yahoo, sustained
    yahoo_burst: float = 10.0  # requests to Yahoo that may go at once after a pause
    yahoo_url: str = ""  # sends Yahoo's requests elsewhere: to a stub, for trials

    compute_threads: int = 0  # slices analysed at a time; 0 for one a core
    fetch_threads: int = 4  # calls of the market at a time
    cache_mib: int = 64  # encoded answers kept in memory
    soft_ttl_s: float = 60.0  # how long an answer is fresh while the exchange is open
    soft_ttl_closed_s: float = 900.0  # and while it is closed, or the market is not live
    deadline_s: float = 20.0  # when a request is answered with what is there, unless it says so itself (25 at most)
    list_limit: int = 500  # tickers in one synchronous request
    task_limit: int = 5000  # tickers in one task; with more detail than a summary as many as in one request
    max_backlog_s: float = 5.0  # predicted work ahead of an interactive request, beyond which it is refused
    max_flights: int = 20_000  # tickers being waited for, beyond which requests are refused
    max_connections: int = 12_000  # beyond which a connection is answered with 503 and closed
    memory_mib: int = 0  # resident memory near which caches shrink and misses are refused; 0 for the container's limit
    keepalive_s: float = 100.0  # idle connections; longer than the proxy in front keeps them (Heroku 90, nginx 60)
    header_timeout_s: float = 10.0  # for the head of a request to arrive
    body_timeout_s: float = 5.0  # for its body
    write_stall_s: float = 30.0  # for a client to read anything of its answer
    client_rate: float = 0.0  # tickers a second for each client; 0 for no limit
    client_burst: float = 1000.0  # tickers that a client may ask for at once, where there is a limit
    trusted_proxy: str = ""  # addresses or networks whose X-Forwarded-For counts, with commas; * for any
    drain_s: float = 0.0  # between saying "not ready" and closing the door at shutdown (5 behind Kubernetes)
    snapshot_s: float = 60.0  # between two snapshots of the cache on disk; 0 for none
    slow_s: float = 0.5  # requests that take longer are logged
    hot_path: bool = True  # answer complete requests for stored answers before they reach aiohttp


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
