"""The server as a process with a fake market and engine: `python -m tests.serving.process STATE_DIR PORT MODE`."""

import os
import sys
import time

from bq.config import Settings
from bq.serving.app import build_app
from bq.serving.run import main
from tests.serving.fakes import FakeEngine, FakeMarket


class SlowToLoad(FakeEngine):
    def load(self):
        time.sleep(60)
        return super().load()


class Abort(FakeEngine):
    """Dies as a process dies of a fault in compiled code, where a ticker says so."""

    def analyze(self, snapshots, details, give_way):
        if any(one.ticker.startswith("ABORT") for one in snapshots):
            os.abort()
        return super().analyze(snapshots, details, give_way)


ENGINES = {"slow-boot": SlowToLoad, "abort": Abort}


if __name__ == "__main__":
    state_dir, port, mode = sys.argv[1:]
    engine, market = ENGINES.get(mode, FakeEngine)(), FakeMarket()
    engine.delay_s = {"slow-slices": 0.05, "abort": 0.05, "hang": 120.0}.get(mode, 0.0)
    settings = Settings(port=int(port), host="127.0.0.1", state_dir=state_dir, compute_threads=1)
    main(settings, lambda: build_app(settings, market, load=engine.load))
