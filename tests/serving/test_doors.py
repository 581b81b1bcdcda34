"""T46 with the real engine: whichever door an analysis comes out of, it is the same."""

import json

import bq
from bq.cli import main
from bq.market.open import open_market
from bq.serving.compute import load_engine
from tests.serving.fakes import FakeEngine, running
from tests.serving.test_tasks import finished, submit

AS_OF = "2026-06-30T21:00:00Z"
NAMES = ["AAPL", "SIM007", "SIM123", "NOPE"]


class Real(FakeEngine):
    def load(self):
        return load_engine()


def without_origin(items):
    return [{key: value for key, value in item.items() if key != "from_cache"} for item in items]


async def test_the_command_line_the_library_and_the_server_give_the_same_items(tmp_path, capsys):
    market = open_market(bq.config.Settings(market="sample", as_of=AS_OF))
    asked = {"tickers": NAMES, "detail": "full"}
    async with running(tmp_path, engine=Real(), market=market) as server:
        alone = {name: (await server.get(f"/api/analysis/{name}?detail=full"))[1] for name in NAMES[:3]}
        _, listed = await server.post(asked)
        task = await finished(server, await submit(server, asked))
    assert main(["analyze", *NAMES, "--market", "sample", "--as-of", AS_OF, "--detail", "full", "--json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    called = bq.analyze(NAMES, market="sample", detail="full", as_of=AS_OF)

    assert [item["status"] for item in printed] == ["ok", "ok", "ok", "error"]
    assert {item["ticker"]: item["data"] for item in printed[:3]} == alone
    assert without_origin(printed) == without_origin(called) == without_origin(listed["data"])
    assert without_origin(task["data"]) == without_origin(listed["data"])
