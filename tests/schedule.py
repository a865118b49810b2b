"""The order of the tests, and the process that runs each, if several processes share them (`pytest -n`)."""

import pytest
from xdist.scheduler import LoadScopeScheduling

#: Files whose tests share what is slow to make, longest first. Tests that fork come before Prefect's lasting threads.
GROUPS = {
    "flows": ("unit/test_training_loop.py", "flows/"),
    "dvc": ("end_to_end/test_dvc.py", "end_to_end/test_kills.py"),
    "browser": ("browser/",),
}
#: The other files, each a group of its own: those that take longest come first.
LATER = ("end_to_end/", "pretended_gpu/", "stages/", "unit/test_shapes.py", "unit/", "fuzz/", "golden/", "properties/")


class Groups(LoadScopeScheduling):
    """A scheduler that keeps each group of `GROUPS`, and each other file, in one process."""

    def _split_scope(self, nodeid: str) -> str:
        name = file_of(nodeid)
        return next((group for group, starts in GROUPS.items() if name.startswith(starts)), name)


def in_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the tests in the order of `GROUPS` and `LATER`; those of other folders come last."""
    order = [start for starts in (*GROUPS.values(), LATER) for start in starts]

    def place(item: pytest.Item) -> int:
        name = file_of(item.nodeid)
        return next((number for number, start in enumerate(order) if name.startswith(start)), len(order))

    return sorted(items, key=place)


def file_of(nodeid: str) -> str:
    """Return the file of a test, relative to `tests/`."""
    return nodeid.split("::")[0].removeprefix("tests/")
