"""Run the server: `python server.py`, settings from the environment."""

import datetime as dt
import os
import sys

from bq import blas  # noqa: F401 - first: it is read when numpy is imported
from bq.config import Settings, from_env
from bq.errors import Failure
from bq.market.source import Market
from bq.serving.app import build_app, session_clock
from bq.serving.run import main


def open_market(settings: Settings) -> Market:
    """Open the market that the settings name; imported late, since the simulated one compiles kernels."""
    from bq.market import open

    return open.open_market(settings, lambda: dt.datetime.now(dt.UTC))


if __name__ == "__main__":
    try:
        settings = from_env(os.environ)
    except Failure as failure:
        sys.exit(failure.problem.error)
    main(settings, lambda: build_app(settings, lambda: open_market(settings), session_open=session_clock(settings)))
