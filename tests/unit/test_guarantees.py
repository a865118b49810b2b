"""docs/guarantees.md names tests that exist, and `tests.kept_promises` tells which of them ran."""

import ast

import pytest

from tests import workspace as ws
from tests.kept_promises import PAGE, is_slow, named_tests, unkept

NAMED = named_tests()


def test_the_page_names_tests():
    text = PAGE.read_text(encoding="utf-8")
    assert len(NAMED) > 20
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith(("| promise", "| ---"))]
    assert [row for row in rows if "`tests/" not in row] == []


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_named_test_exists(path: str, name: str):
    tree = ast.parse((ws.ROOT / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_a_promise_is_kept_only_if_all_of_its_test_passed():
    outcomes = {test: {"passed"} for test in NAMED if not is_slow(*test)}
    assert unkept(outcomes, with_slow=False) == []
    first = next(iter(outcomes))
    for outcome in ({"skipped"}, {"passed", "skipped"}, {"failed"}):
        assert unkept({**outcomes, first: outcome}, with_slow=False) == [
            f"{first[0]}::{first[1]}: {', '.join(sorted(outcome))}"
        ]
    del outcomes[first]
    assert unkept(outcomes, with_slow=False) == [f"{first[0]}::{first[1]}: did not run"]


def test_slow_tests_count_only_where_they_were_to_run():
    slow = [test for test in NAMED if is_slow(*test)]
    assert ("tests/end_to_end/test_kills.py", "test_two_hundred_kills_lose_nothing") in slow
    assert ("tests/unit/test_cli.py", "test_a_full_disk_is_one_message") not in slow
    outcomes = {test: {"passed"} for test in NAMED if test not in slow}
    assert len(unkept(outcomes, with_slow=True)) == len(slow)
