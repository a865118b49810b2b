"""A pytest plugin for runs of all tests: a promise of docs/guarantees.md counts as kept if its test ran and passed.

`make test` and `make test-all` load it (`-p tests.kept_promises`). It lists the promises whose test was skipped or did
not run; if the variable CI is set, they also fail the run.
"""

import ast
import os
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "guarantees.md"


def named_tests() -> list[tuple[str, str]]:
    """Return the file and the name of every test that the page names."""
    return sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE.read_text(encoding="utf-8"))))


def is_slow(path: str, name: str) -> bool:
    """Return whether a test, or its whole module, is marked slow."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    marks = [node.value for node in tree.body if isinstance(node, ast.Assign) and _assigns(node, "pytestmark")]
    marks += [
        mark
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == name
        for mark in node.decorator_list
    ]
    return any("mark.slow" in ast.unparse(mark) for mark in marks)


def unkept(outcomes: dict[tuple[str, str], set[str]], *, with_slow: bool) -> list[str]:
    """Return one line for each named test that did not run and pass.

    Args:
        outcomes: the outcomes of each test that ran, by file and name; a test with parameters can have several.
        with_slow: whether slow tests were run, too.
    """
    found = []
    for path, name in named_tests():
        outcome = outcomes.get((path, name), set())
        if outcome == {"passed"} or (not outcome and not with_slow and is_slow(path, name)):
            continue
        found.append(f"{path}::{name}: {', '.join(sorted(outcome)) or 'did not run'}")
    return found


def _assigns(node: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)


class KeptPromises:
    """Collects outcomes, and compares them with the page at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self._with_slow = not config.option.markexpr
        self._outcomes: dict[tuple[str, str], set[str]] = {}
        self._unkept: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record the outcome of a test: that of its call, or of a phase that kept it from running."""
        if report.when == "call" or report.outcome != "passed":
            path, _, name = report.nodeid.partition("::")
            self._outcomes.setdefault((path, name.split("[")[0].rsplit("::", 1)[-1]), set()).add(report.outcome)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the run in CI if a promise is not kept."""
        self._unkept = unkept(self._outcomes, with_slow=self._with_slow)
        if self._unkept and os.environ.get("CI") and session.exitstatus == 0:
            session.exitstatus = 1

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """List the promises that are not kept."""
        if self._unkept:
            terminalreporter.section("promises of docs/guarantees.md whose test did not run and pass")
            for line in self._unkept:
                terminalreporter.line(line)


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin in the process that sees all reports."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(KeptPromises(config), "kept-promises")
