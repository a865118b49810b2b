"""Which process runs which test, and what comes first, when several processes share the tests (`pytest -n`)."""

import pytest
from xdist.scheduler import LoadScopeScheduling

#: Files whose tests share what is slow to make, longest first. What forks comes before Prefect's threads, which stay.
GROUPS = {
    "flows": ("unit/test_training_loop.py", "flows/"),
    "dvc": ("end_to_end/test_dvc.py", "end_to_end/test_kills.py"),
    "browser": ("browser/",),
}
#: The other files, each a group of its own: those that take longest come first.
LATER = ("end_to_end/", "stages/", "unit/test_shapes.py", "unit/", "fuzz/", "golden/", "properties/")


class Groups(LoadScopeScheduling):
    """One process runs a group of `GROUPS`, or a file, from its first test to its last."""

    def _split_scope(self, nodeid: str) -> str:
        name = file_of(nodeid)
        return next((group for group, starts in GROUPS.items() if name.startswith(starts)), name)


def in_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """The tests in the order of `GROUPS` and `LATER`, those of other folders last."""
    order = [start for starts in (*GROUPS.values(), LATER) for start in starts]

    def place(item: pytest.Item) -> int:
        name = file_of(item.nodeid)
        return next((number for number, start in enumerate(order) if name.startswith(start)), len(order))

    return sorted(items, key=place)


def file_of(nodeid: str) -> str:
    """The file of a test, from `tests/`."""
    return nodeid.split("::")[0].removeprefix("tests/")
