"""The README is run: its commands, its examples, its table of settings."""

import json
import re
import shlex
from pathlib import Path

import pytest

import bq
from bq import cli
from bq.config import Settings, environment_name

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def test_every_setting_is_in_the_table_with_its_default() -> None:
    table = README.split("<!-- settings -->")[1].split("<!-- /settings -->")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| `(.*?)` \|", table, re.M))
    assert set(rows) == {environment_name(name) for name in Settings.__struct_fields__}
    shown = Settings()
    for name in Settings.__struct_fields__:
        default = rows[environment_name(name)]
        value = getattr(shown, name)
        assert default.strip('"') == str(value) or float(default.replace("_", "")) == float(value), name


def test_the_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    assert set(re.findall(r"`?make ([a-z-]+)", README)) <= targets


def test_the_python_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = blocks("python")
    assert "import bq" in example
    exec(compile(example, "README.md", "exec"), {})
    assert "value" in capsys.readouterr().out
    assert bq.analyze is not None


def test_the_command_line_examples_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BQ_STATE_DIR", str(tmp_path))
    lines = [line for block in blocks("sh") for line in block.splitlines() if "-m bq" in line]
    assert lines
    for line in lines:
        words = shlex.split(line)
        assert cli.main(words[words.index("bq") + 1 :]) == 0
    capsys.readouterr()


def test_the_answer_shown_has_the_keys_of_the_answer_given() -> None:
    (shown,) = (json.loads(block) for block in blocks("json"))
    given = bq.analyze(["AAPL", "NOPE"], market="sample", detail="summary")

    def keys(value: object, prefix: str = "") -> set[str]:
        if isinstance(value, dict):
            return {p for k, v in value.items() for p in ({f"{prefix}.{k}"} | keys(v, f"{prefix}.{k}"))}
        return set()

    for item, real in zip(shown["data"], given, strict=True):
        assert keys(item) <= keys(real)
