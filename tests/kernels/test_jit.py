"""The compiled cache: when it hits, when it must not, and what becomes of a damaged one."""

import ast
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kernels import _jit, black_scholes, warm

KERNELS = Path(black_scholes.__file__).resolve().parent

PART = """
from kernels._jit import scalar

@scalar
def part(x: float) -> float:
    return 2.0 * x
"""
TINY = """
import numpy as np
from kernels._jit import kernel
from kernels.part import part

@kernel("void(float64[::1])")
def apply(x):
    for i in range(x.size):
        x[i] = part(x[i])
"""
RUN = """
import numpy as np
from kernels import _jit, tiny
x = np.array([1.0, 3.0])
tiny.apply(x)
print("result", _jit.cache_misses(), x.tolist())
"""


@pytest.fixture
def tree(tmp_path):
    """A project of two kernel modules and nothing in its cache."""
    folder = tmp_path / "tree" / "kernels"
    folder.mkdir(parents=True)
    for name in ("__init__.py", "_jit.py", "_library.py", "_front_end.py"):
        shutil.copy(KERNELS / name, folder)
    (folder / "part.py").write_text(PART)
    (folder / "tiny.py").write_text(TINY)
    return folder.parent


def run(tree, **settings):
    """Import and apply in a process of its own: cache misses, result, what was logged."""
    env = {k: v for k, v in os.environ.items() if k not in ("BQ_KERNEL_CACHE", "PYTHONPATH", "NUMBA_CPU_NAME")}
    env |= settings
    done = subprocess.run([sys.executable, "-c", RUN], cwd=tree, env=env, capture_output=True, text=True, check=True)
    _, misses, result = next(line for line in done.stdout.splitlines() if line.startswith("result")).split(" ", 2)
    return int(misses), result, done.stderr


def entries(tree):
    return sorted(p for p in (tree / "kernels" / ".cache").rglob("*") if p.is_file())


def test_the_second_process_compiles_nothing(tree):
    assert run(tree)[:2] == (1, "[2.0, 6.0]")
    assert run(tree)[:2] == (0, "[2.0, 6.0]")


def test_an_edit_in_an_imported_module_compiles_again(tree):
    run(tree)
    (tree / "kernels" / "part.py").write_text(PART.replace("2.0", "5.0"))
    assert run(tree)[:2] == (1, "[5.0, 15.0]")


def test_an_edit_in_a_module_that_is_not_imported_does_not(tree):
    run(tree)
    (tree / "kernels" / "other.py").write_text("x = 1\n")
    assert run(tree)[0] == 0


def test_the_imports_of_a_module_are_those_of_its_syntax_tree():
    for path in sorted(KERNELS.glob("*.py")):
        names = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "kernels":
                names.update((node.module or "").split(".")[1:2] or [alias.name for alias in node.names])
            elif isinstance(node, ast.Import):
                names.update(alias.name.split(".")[1] for alias in node.names if alias.name.startswith("kernels."))
        assert _jit.imported(path.stem) == {name for name in names if (KERNELS / f"{name}.py").exists()}, path.name


def test_a_start_from_the_cache_loads_nothing_to_compile_with():
    """What Numba compiles array functions with, and SciPy, take as long to load as all kernels."""
    for name in warm.modules():
        importlib.import_module(f"kernels.{name}")  # compiled and stored, where another test has not done it
    script = (
        "import sys; from bq.analysis import engine; engine.warm_up(); from kernels._jit import cache_misses;"
        "print(cache_misses(), sys.modules.keys() & {'numba.np.arraymath', 'numba.np.npyimpl', 'scipy.linalg'})"
    )
    env = {k: v for k, v in os.environ.items() if k != "BQ_KERNEL_CACHE"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=KERNELS.parent, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[0] == "0 set()"


def test_a_copied_tree_still_hits(tree, tmp_path):
    run(tree)
    moved = tmp_path / "somewhere" / "else"
    shutil.copytree(tree, moved)
    shutil.rmtree(tree)
    assert run(moved)[:2] == (0, "[2.0, 6.0]")


def test_code_for_a_named_cpu_knows_nothing_of_this_machine(tree):
    script = (
        "from kernels._jit import cpu_target as t, host; print(host(), repr(t.target_context.codegen()._tm_features))"
    )
    env = os.environ | {"NUMBA_CPU_NAME": "x86-64-v3"}
    done = subprocess.run([sys.executable, "-c", script], cwd=tree, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["x86-64-v3-e3b0c442", "''"]  # the hash of nothing


def test_a_tree_compiled_for_a_named_cpu_hits_where_that_is_asked_for(tree, tmp_path):
    assert run(tree, NUMBA_CPU_NAME="x86-64-v3")[:2] == (1, "[2.0, 6.0]")
    moved = tmp_path / "slug"
    shutil.copytree(tree, moved)
    shutil.rmtree(tree)
    assert run(moved, NUMBA_CPU_NAME="x86-64-v3")[:2] == (0, "[2.0, 6.0]")
    assert run(moved)[:2] == (1, "[2.0, 6.0]")  # this machine's own CPU is another


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("content", [b"", b"garbage", None], ids=["empty", "foreign", "truncated"])
def test_a_damaged_entry_is_compiled_again(tree, suffix, content):
    run(tree)
    damaged = [p for p in entries(tree) if p.suffix == suffix]
    assert damaged
    for path in damaged:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if content is None else content)
    assert run(tree)[:2] == (1, "[2.0, 6.0]")
    assert run(tree)[:2] == (0, "[2.0, 6.0]")  # and is whole again


def test_a_tree_that_cannot_be_written_works(tree):
    # A file where the folder should be: permissions would not stop the superuser.
    (tree / "kernels" / ".cache").write_text("")
    misses, result, log = run(tree)
    assert (misses, result) == (1, "[2.0, 6.0]")
    assert "cannot write" in log


def test_a_tree_that_cannot_be_written_but_is_warm_hits(tree):
    if os.geteuid() == 0:
        pytest.skip("permissions do not stop the superuser")
    run(tree)
    folders = [p for p in (tree / "kernels" / ".cache").rglob("*") if p.is_dir()]
    for folder in folders:
        folder.chmod(0o500)
    try:
        assert run(tree)[:2] == (0, "[2.0, 6.0]")
    finally:
        for folder in folders:
            folder.chmod(0o700)


@pytest.mark.parametrize("bad", [np.ones(4, np.float32), np.ones(8)[::2]], ids=["float32", "strided"])
def test_a_kernel_refuses_other_types_instead_of_compiling_for_them(bad):
    good = [np.ones(4) for _ in range(6)]
    with pytest.raises(TypeError):
        black_scholes._price(np.ones(4, bool), bad, *good)
