"""What every test of the server may rely on."""

import pytest


@pytest.fixture(autouse=True)
def _quick_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let servers inside the tests' process end without the pause for connections that the kernel still holds."""
    monkeypatch.setattr("bq.serving.run.ACCEPT_S", 0.0)
