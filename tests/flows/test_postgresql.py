"""A server with PostgreSQL and a password, as `docs/cluster.md` sets it up for several machines, and its worker."""

import shutil
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from flows.lock_entries import format_lock_entries
from tests.clones import Clone, make_clone
from tests.flows.cluster import Cluster
from tests.flows.database import Database
from tests.flows.prefect_server import PASSWORD, Server

pytestmark = [
    pytest.mark.slow,  # a database, a server that sets its tables up, and a worker
    pytest.mark.skipif(shutil.which("initdb") is None, reason="no PostgreSQL on this machine (`initdb`)"),
]


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
