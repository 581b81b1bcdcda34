"""Run the server: `python server.py`, settings from the environment."""

import datetime as dt
import os
import sys

from bq.config import from_env
from bq.errors import Failure
from bq.market.open import open_market
from bq.serving.app import build_app, session_clock
from bq.serving.run import main

if __name__ == "__main__":
    try:
        settings = from_env(os.environ)
        market = open_market(settings, lambda: dt.datetime.now(dt.UTC))
    except Failure as failure:
        sys.exit(failure.problem.error)
    main(settings, lambda: build_app(settings, market, session_open=session_clock(settings)))
