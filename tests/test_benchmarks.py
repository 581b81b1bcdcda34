"""The benchmark's own arithmetic: turns, medians, its budget of time, and what a failure does to the table."""

import pytest

from benchmarks import report
from benchmarks.runner import BUDGET_S, LEAST_ROUNDS, Case, Contender, measure


class Clock:
    """Time that passes only where work is done."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def work(self, seconds):
        def run():
            self.now += seconds

        return run


def case_of(clock, ours, theirs, rounds=15):
    references = {"theirs": Contender(clock.work(theirs), 2)}
    return Case("a kernel", Contender(clock.work(ours), 10), references, must_reach="fast", rounds=rounds)


def test_ratios_are_seconds_a_row():
    clock = Clock()
    result = measure(case_of(clock, 0.001, 0.004), clock)
    assert result.seconds_per_row == pytest.approx(0.0001)
    assert result.ratios() == {"theirs": pytest.approx(20.0)}
    assert result.rounds == 15


def test_a_slow_reference_gets_three_rounds_and_no_more():
    clock = Clock()
    assert measure(case_of(clock, 0.001, 2 * BUDGET_S), clock).rounds == LEAST_ROUNDS


def test_the_budget_ends_the_rounds():
    clock = Clock()
    assert measure(case_of(clock, 0.5, 0.5, rounds=100), clock, budget_s=10.0).rounds == 10


def test_a_case_that_fails_has_its_line_and_the_others_theirs(monkeypatch, tmp_path, capsys):
    clock = Clock()

    def broken():
        raise ArithmeticError("no")

    cases = [("x", Case("broken", Contender(broken, 1), {})), ("x", case_of(clock, 0.001, 0.004))]
    target = tmp_path / "README.md"
    target.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    monkeypatch.setattr(report, "collect", lambda names: cases)
    monkeypatch.setattr(report, "TARGET", target)
    monkeypatch.setattr(report.sys, "argv", ["report"])
    with pytest.raises(ArithmeticError):
        report.main()
    text = target.read_text()
    assert "| broken | failed | - | ArithmeticError: no |" in text
    assert "| a kernel |" in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
