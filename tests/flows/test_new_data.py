"""New data: a change of the folder is reported to the server, which starts the pipeline."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound

from flows.deploy import create_automation, create_pools, deploy
from flows.new_data import files_hash, new_data
from tests.clones import Clone
from tests.flows.prefect_server import Server, eventually


def look(folder: Path | None = None) -> State:
    return new_data(str(folder) if folder else None, return_state=True)


@pytest.fixture
def nobody_listens(server: Server) -> Iterator[None]:
    """No deployment of other tests starts a pipeline on what a test tells the server, and no run is left for theirs."""
    delete_pipeline(server)
    yield
    delete_pipeline(server)


def delete_pipeline(server: Server) -> None:
    """Delete the deployment of the pipeline, its trigger, and its runs that have not begun."""
    with server.client() as client:
        try:
            pipeline = client.read_deployment_by_name("pipeline/pipeline")
        except ObjectNotFound:
            return
        client.delete_resource_owned_automations(f"prefect.deployment.{pipeline.id}")
        client.delete_deployment(pipeline.id)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "pictures"
    made.mkdir()
    (made / "a.jpg").write_bytes(b"a")
    return made


def test_a_fingerprint_follows_from_names_sizes_and_times(folder: Path):
    first = files_hash(folder)
    assert files_hash(folder) == first
    os.utime(folder / "a.jpg", (0, 0))
    second = files_hash(folder)
    (folder / "below").mkdir()
    assert files_hash(folder) == second != first
    (folder / "below" / "b.jpg").write_bytes(b"b")
    assert files_hash(folder) not in (first, second)


@pytest.mark.usefixtures("nobody_listens")
def test_a_change_is_told_once_and_only_when_it_has_come_to_an_end(server: Server, clone: Clone, folder: Path):
    assert "no change" in (look(folder).message or "")
    (folder / "b.jpg").write_bytes(b"b")
    assert "files are changing" in (look(folder).message or "")
    (folder / "c.jpg").write_bytes(b"c")
    assert "files are changing" in (look(folder).message or "")
    assert "has new files; the server was told" in (look(folder).message or "")
    assert "no change" in (look(folder).message or "")


def test_a_folder_that_is_not_there_is_refused_by_name(server: Server, clone: Clone, tmp_path: Path):
    state = look(tmp_path / "nowhere")
    assert state.is_failed()
    assert "there is no folder" in (state.message or "")


@pytest.mark.usefixtures("nobody_listens")
def test_new_data_starts_one_run_of_the_pipeline(
    server: Server, clone: Clone, folder: Path, capfd: pytest.CaptureFixture[str]
):
    for _ in range(2):  # the second time changes nothing
        create_pools()
        create_automation()
    assert deploy(server.url) == 0
    with server.client() as client:
        assert {pool.name for pool in client.read_work_pools()} >= {"cpu", "gpu"}
        assert len(client.read_automations_by_name("runs without a process crash")) == 1
        pipeline = client.read_deployment_by_name("pipeline/pipeline")
        assert (pipeline.work_pool_name, pipeline.global_concurrency_limit.limit) == ("cpu", 1)
        assert [schedule.active for schedule in pipeline.schedules] == [False]
        for pool in ("cpu", "gpu"):
            assert client.read_deployment_by_name(f"stage/stage-{pool}").work_pool_name == pool

    look(folder)
    (folder / "b.jpg").write_bytes(b"b")
    look(folder)
    look(folder)

    def started() -> list:
        with server.client() as client:
            runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(is_null_=True)))
        return [each for each in runs if each.deployment_id == pipeline.id]

    runs = eventually(started, within_s=60)
    assert len(runs) == 1
