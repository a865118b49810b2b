"""A Prefect server, and clones with a finished and recorded run, for the tests of the flows."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, chdir
from pathlib import Path

import pytest
from prefect.client.schemas.objects import State
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, PREFECT_HOME, temporary_settings

from flows.pipeline import pipeline
from tests.clones import Clone, make_clone
from tests.flows.database import Database
from tests.flows.prefect_server import PASSWORD, Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server, to which the flows of this process and its children report."""
    home = tmp_path_factory.mktemp("prefect")
    running = Server(home)
    with ExitStack() as stack:
        stack.enter_context(temporary_settings({PREFECT_API_URL: running.url, PREFECT_HOME: home}))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in running.environment.items():
            patch.setenv(name, value)
        running.start()
        yield running
        APILogWorker.drain_all(timeout=30)  # otherwise this process waits at its end for a server that is gone
        running.stop()


@pytest.fixture(scope="session")
def recorded(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone with the run of `finished`, recorded by DVC and committed. It must not be changed: `clone` is a copy."""
    clone = make_clone(tmp_path_factory.mktemp("recorded") / "clone")
    shutil.copytree(finished / "data", clone.folder / "data", dirs_exist_ok=True)
    with chdir(clone.folder):
        clone.dvc("commit", "--force")
    clone.commit("a run of the smoke profile")
    return clone


@pytest.fixture(scope="session")
def cached_run(server: Server, recorded: Clone, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, State]:
    """A run of the pipeline in a copy of `recorded`, where everything is up to date: its id and its last state."""
    copied = Clone(tmp_path_factory.mktemp("cached") / "clone")
    shutil.copytree(recorded.folder, copied.folder, symlinks=True)
    with chdir(copied.folder):
        state = pipeline(return_state=True)
    return str(state.state_details.flow_run_id), state


@pytest.fixture
def clone(recorded: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    """A copy of `recorded` as the working directory, to change."""
    copied = Clone(tmp_path / "home" / "clone")
    shutil.copytree(recorded.folder, copied.folder, symlinks=True)
    monkeypatch.chdir(copied.folder)
    return copied


@pytest.fixture
def database() -> Iterator[Database]:
    with tempfile.TemporaryDirectory(prefix="bestie-pg-") as folder:
        made = Database(Path(folder))
        made.start()
        yield made
        made.stop()


@pytest.fixture
def protected(database: Database, tmp_path: Path) -> Iterator[Server]:
    """A server with this database and a password."""
    settings = {
        "PREFECT_API_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://prefect:prefect@127.0.0.1:{database.port}/prefect",
        "PREFECT_SERVER_API_AUTH_STRING": PASSWORD,
        "PREFECT_API_AUTH_STRING": PASSWORD,
    }
    home = tmp_path / "prefect"
    home.mkdir()
    running = Server(home, **settings)
    own = {PREFECT_API_URL: running.url, PREFECT_HOME: home, PREFECT_API_AUTH_STRING: PASSWORD}
    with ExitStack() as stack:
        stack.enter_context(temporary_settings(own))
        running.start()
        stack.callback(running.stop)
        yield running
