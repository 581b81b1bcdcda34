"""The server as a process with a fake market and engine: `python -m tests.serving.process STATE_DIR PORT MODE`."""

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


if __name__ == "__main__":
    state_dir, port, mode = sys.argv[1:]
    engine, market = (SlowToLoad() if mode == "slow-boot" else FakeEngine()), FakeMarket()
    engine.delay_s = {"slow-slices": 0.05, "hang": 120.0}.get(mode, 0.0)
    settings = Settings(port=int(port), host="127.0.0.1", state_dir=state_dir, compute_threads=1)
    main(settings, lambda: build_app(settings, market, load=engine.load))
