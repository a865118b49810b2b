"""A server with PostgreSQL and a password, as `docs/cluster.md` sets it up for several machines, and its worker."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, PREFECT_HOME, temporary_settings

from flows.lock_entries import format_lock_entries
from tests.clones import Clone, make_clone
from tests.flows.cluster import Cluster
from tests.flows.prefect_server import Server

pytestmark = [
    pytest.mark.slow,  # a database, a server that sets its tables up, and a worker
    pytest.mark.skipif(shutil.which("initdb") is None, reason="no PostgreSQL on this machine (`initdb`)"),
]

PASSWORD = "bestie:not-a-secret"


class Database:
    """PostgreSQL in a folder of its own, by a user that is not root: it refuses that one."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._folder = folder
        self._user = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
        os.chown(folder, self._user.pw_uid, self._user.pw_gid)

    def start(self) -> None:
        """Create the database `prefect` with its user."""
        self._run("initdb", "--pgdata", "data", "--auth", "trust", "--encoding", "UTF8", "--username", "admin")
        options = f"-p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1"
        self._run("pg_ctl", "--pgdata", "data", "--wait", "--log", "log", "--options", options, "start")
        for statement in (
            "CREATE ROLE prefect LOGIN PASSWORD 'prefect'",
            "CREATE DATABASE prefect OWNER prefect",
        ):
            self._run("psql", "-h", str(self._folder), "-p", str(self.port), "-U", "admin", "-c", statement, "postgres")

    def stop(self) -> None:
        self._run("pg_ctl", "--pgdata", "data", "--mode", "immediate", "stop")

    def asks(self, query: str) -> str:
        return self._run("psql", "-h", str(self._folder), "-p", str(self.port), "-U", "prefect", "-tAc", query).strip()

    def _run(self, *command: str) -> str:
        own = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
        log = self._folder / "output"
        with log.open("w+b") as output:  # no pipe: the server would keep its end open
            ended = subprocess.run(command, cwd=self._folder, stdout=output, stderr=output, check=False, **own)
        text = log.read_text(encoding="utf-8")
        assert ended.returncode == 0, text
        return text


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


@pytest.fixture
def source(tmp_path: Path) -> Clone:
    clone = make_clone(tmp_path / "source")
    (clone.folder / "dvc.lock").write_text(format_lock_entries({}), encoding="utf-8")
    clone.commit("the code; nothing has run")
    return clone


def test_a_worker_runs_a_stage_for_a_server_with_postgresql_and_a_password(
    database: Database, protected: Server, source: Clone, tmp_path: Path
):
    with pytest.raises(HTTPError, match="401"):
        urlopen(f"{protected.url}/admin/version", timeout=30)
    cluster = Cluster(tmp_path, source, protected)
    clone = cluster.clone("worker")
    cluster.deploy(clone)
    try:
        cluster.worker(clone, "cpu")
        run = cluster.wait(cluster.start_stage("prepare", pool="cpu", clone=clone))
    finally:
        cluster.end()
    assert run.state is not None
    assert run.state.is_completed(), run.state.message
    assert database.asks(f"SELECT state_name FROM flow_run WHERE id = '{run.id}'") == "Completed"
    log = cluster.log(run)
    assert "> python -m stages.prepare" in log
    assert PASSWORD not in log
