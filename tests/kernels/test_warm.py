"""How the modules are shared out over the processes that compile ahead."""

import importlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kernels import _jit, warm

ROOT = Path(__file__).resolve().parents[2]


def test_the_modules_with_kernels_are_those_that_register_some():
    for name in warm.modules():
        importlib.import_module(f"kernels.{name}")
    owners = {kernel.py_func.__module__.removeprefix("kernels.") for kernel in _jit.compiled}
    assert owners == set(warm.modules())


def test_every_measured_module_exists():
    assert set(warm.SECONDS) <= set(warm.modules())


def test_a_module_waits_for_all_that_its_import_brings_in():
    assert {"_garch_newton", "_garch_path"} <= warm.needed("bootstrap")  # through simulate and garch
    for name in warm.modules():
        assert name not in warm.needed(name)
        assert all(warm.needed(other) <= warm.needed(name) for other in warm.needed(name))


def test_the_plan_has_each_module_once_and_no_module_before_one_that_it_waits_for():
    plan = warm.plan(warm.modules())
    assert sorted(plan) == warm.modules()
    for place, name in enumerate(plan):
        assert not warm.needed(name) & set(plan[place:])


def test_what_nobody_has_measured_does_not_come_last(monkeypatch):
    monkeypatch.setattr(warm, "SECONDS", {name: 0.1 for name in warm.modules() if name != "payoff"})
    assert warm.plan(warm.modules())[0] == "payoff"


@pytest.mark.parametrize("error", [ImportError, ZeroDivisionError])
def test_a_module_that_does_not_compile_ends_the_warming_with_its_error(monkeypatch, error):
    class InLine:
        """A pool that does the work where it stands."""

        def __init__(self, *_, **__): ...
        def __enter__(self):
            return self

        def __exit__(self, *_): ...
        def submit(self, function, name):
            future = warm.Future()
            try:
                future.set_result(function(name))
            except Exception as problem:
                future.set_exception(problem)
            return future

    def compile_or_fail(module):
        if module == "spline":
            raise error(module)
        return 0.25

    monkeypatch.setattr(warm, "ProcessPoolExecutor", InLine)
    monkeypatch.setattr(warm, "_compile", lambda module: 0.25)
    _, cpu = warm.compile_all(2)
    assert cpu == 0.25 * len(warm.modules())
    monkeypatch.setattr(warm, "_compile", compile_or_fail)
    with pytest.raises(error, match="spline"):
        warm.compile_all(2)


def test_nothing_is_compiled_ahead_of_an_import_that_finds_it_compiled(monkeypatch):
    for name in warm.modules():
        importlib.import_module(f"kernels.{name}")
    monkeypatch.setattr(warm.subprocess, "Popen", None)
    assert not warm.ahead_of_import()


@pytest.mark.parametrize("setting", ["off", "unwritable"])
def test_nor_where_it_could_not_be_stored(monkeypatch, tmp_path, setting):
    monkeypatch.setattr(_jit, "cache_of", lambda module: tmp_path / "cache" / module)
    monkeypatch.setattr(warm.subprocess, "Popen", None)
    if setting == "off":
        monkeypatch.setenv("BQ_KERNEL_CACHE", "off")
    else:
        monkeypatch.setattr(warm.os, "access", lambda path, mode: False)
    assert not warm.ahead_of_import()


def test_the_compiler_ends_with_its_parent(monkeypatch):
    """Whatever way the parent goes: the pipe to it closes."""
    child = subprocess.Popen(
        [sys.executable, "-c", "from kernels import warm; warm._end_with_parent()"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    child.stdin.close()
    assert child.wait(60) == -signal.SIGKILL


def test_the_compiler_ends_well_while_its_parent_lives():
    command = [sys.executable, "-m", "kernels.warm", warm.WITH_PARENT]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True, **pipes) as child:
        assert child.wait(600) == 0
        assert b"ready for" in child.stdout.read()
