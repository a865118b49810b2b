"""A finished run of the smoke profile through DVC, which several modules share."""

import pytest

from tests.clones import Clone, make_clone


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which `dvc repro` ran once, committed."""
    clone = make_clone(tmp_path_factory.mktemp("home") / "clone")
    clone.dvc("repro")
    clone.commit("a run of the smoke profile")
    return clone
