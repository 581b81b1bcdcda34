"""The page's pure modules under node's own test runner; their tests are in `modules/`."""

import shutil
import subprocess
from pathlib import Path

import pytest

from bq.serving import assets

HERE = Path(__file__).parent


def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("node is not installed")
    return found


def test_the_pure_modules_pass_their_tests():
    tests = sorted(str(path) for path in (HERE / "modules").glob("*.test.mjs"))
    ran = subprocess.run([node(), "--test", *tests], capture_output=True, text=True, timeout=120)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "# fail 0" in ran.stdout
    assert "# pass 0" not in ran.stdout


@pytest.mark.parametrize("path", sorted(assets.WEB.rglob("*.js")), ids=lambda path: path.name)
def test_no_module_has_a_syntax_error(path):
    ran = subprocess.run([node(), "--check", str(path)], capture_output=True, text=True, timeout=60)

    assert ran.returncode == 0, ran.stderr
