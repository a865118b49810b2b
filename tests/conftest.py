"""Shape and type checks while tests run, the folders of the test material, and a finished run of the smoke profile."""

import faulthandler
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import chdir
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import install_import_hook

from tests import typechecker

install_import_hook(["bestie"], f"{typechecker.__name__}.check_types")

from tests import schedule  # noqa: E402  the hook must be there first
from tests import workspace as ws  # noqa: E402
from tests.audit_project import Project  # noqa: E402

ROOT = ws.ROOT


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that take longest first."""
    items[:] = schedule.in_order(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> schedule.Groups:
    """Keep tests that share what is slow to make in one process."""
    return schedule.Groups(config, log)


@pytest.fixture(autouse=True)
def _no_dump_of_slow_tests(request: pytest.FixtureRequest) -> None:
    """Let slow tests take their time: the dump of `faulthandler_timeout` can end a process while torch works."""
    if request.node.get_closest_marker("slow"):
        faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of real data, weights and recorded numbers; tests that need it are skipped if it is absent."""
    folder = Path(os.environ.get("BESTIE_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no test material at {folder} (set BESTIE_SHARED)")
    return folder


def golden_folders() -> list[Path]:
    """Return the folders with recorded inputs and outputs of the authors' release.

    The first holds the small cases of the repository. The full recordings (BESTIE_GOLDEN, by default
    `../shared/golden`) are used in addition if they are there.
    """
    recordings = Path(os.environ.get("BESTIE_GOLDEN", ROOT.parent / "shared" / "golden"))
    cases = ROOT / "tests" / "golden" / "cases"
    return [cases, recordings] if recordings.is_dir() else [cases]


@pytest.fixture(scope="session")
def golden_files() -> Callable[[str], list[Path]]:
    """A function that lists the recorded files matching a pattern, at least one in each of `golden_folders()`."""

    def matching(pattern: str) -> list[Path]:
        files = [sorted(folder.glob(pattern)) for folder in golden_folders()]
        assert all(files), f"one of {golden_folders()} holds no {pattern}"
        return list(chain.from_iterable(files))

    return matching


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hide the settings of the user who runs the tests, and restore torch's switch for deterministic algorithms."""
    for name in list(os.environ):
        if name.startswith("BESTIE_") and name not in ("BESTIE_SHARED", "BESTIE_GOLDEN", "BESTIE_SCREENSHOTS"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("BESTIE_DEVICE", "cpu")
    before = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(before)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all stages ran once on the smoke profile. It must not be changed: `workspace` is a copy."""
    folder = shared_by_processes(tmp_path_factory) / "finished"
    with (folder.parent / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            made = tmp_path_factory.mktemp("making") / "finished"
            made.mkdir()
            with chdir(made), pytest.MonkeyPatch.context() as patch:
                patch.setenv("BESTIE_DEVICE", "cpu")
                ws.set_params()
                shutil.copytree(ROOT / "data/raw/corrections", "data/raw/corrections")
                ws.run(*ws.STAGES)
            made.rename(folder)
    return folder


def shared_by_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a temporary folder that all processes of this test run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture
def finished_run(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`finished` as the working directory, to read from."""
    monkeypatch.chdir(finished)
    return finished


@pytest.fixture
def workspace(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `finished` as the working directory, to change."""
    folder = tmp_path / "workspace"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def finished_project(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository with a finished run, committed. It must not be changed: `project` is a copy."""
    folder = tmp_path_factory.mktemp("project") / "project"
    shutil.copytree(finished, folder)
    Project(folder).commit("a run", *ws.STAGES)
    return folder


@pytest.fixture
def project(finished_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of `finished_project` as the working directory, to change."""
    folder = tmp_path / "project"
    shutil.copytree(finished_project, folder)
    monkeypatch.chdir(folder)
    return Project(folder, exists=True)
