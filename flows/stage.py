"""One stage on a worker, as a Prefect flow: its inputs from the DVC remote, its outputs back to it."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger

from bestie.folders import part_folders
from flows import workspace
from flows.own_clone import STATE, Assignment, hand_over, prepared_clone, transfer, watched
from flows.run_stage import Outcome, Surroundings, completed, run_stage
from flows.server import wait_until_it_answers
from flows.stopping import Stop
from flows.versions import format_lock, read_lock

#: The description of the artifact that carries what a stage added to `dvc.lock`.
LOCK_ENTRY = "entry of dvc.lock"


@flow(name="stage", description="Bring one stage up to date in this worker's clone.")
def stage(
    name: str,
    revision: str,
    params: str,
    lock: str,
    force: bool = False,
    count: int = 0,
    parts: list[str] | None = None,
) -> State:
    """Bring one stage up to date.

    Args:
        name: the stage.
        revision: the commit to check out.
        params: the text of `params.yaml`.
        lock: the text of `dvc.lock`, with all that this stage reads from; may be empty.
        force: run it even if it is up to date.
        count: parts that other runs compute of it; 0: none, this run computes all.
        parts: the hashes of these parts, to join. None yet: where DVC can neither leave the stage as it is nor restore
            it, this run ends as ToCompute.
    """
    assignment = Assignment(name, revision, params, lock)
    return watched(lambda root, stop: _bring_up_to_date(root, stop, assignment, force, count, parts or ()))


def _bring_up_to_date(
    root: Path, stop: Stop, assignment: Assignment, force: bool, count: int, parts: Sequence[str]
) -> State:
    name = assignment.name
    with prepared_clone(root, stop, assignment) as where:
        with _with_parts(where, name, count, parts) as joining:
            outcome = run_stage(name, joining, ["--pull", *(["--force"] if force else [])])
        if outcome is not Outcome.WANTED:
            transfer(["push", "--run-cache", name], where)
        wait_until_it_answers(stop.sleep)  # the slot is given back to the server, and the entry goes there
        entry = read_lock(root / workspace.LOCK).get(name)
    if outcome is not Outcome.WANTED:
        create_markdown_artifact(f"```yaml\n{format_lock({name: entry})}```\n", description=LOCK_ENTRY)
    return completed(outcome)


@contextmanager
def _with_parts(where: Surroundings, name: str, count: int, parts: Sequence[str]) -> Iterator[Surroundings]:
    """What makes the stage join its parts, which lie in the clone meanwhile; `where` itself where it has none.

    Before they are computed the stage says what is missing, which is no error here: the state of the run says it.
    """
    if count == 0:
        yield where
        return
    folders = part_folders(STATE, name, count)
    together = where.root / folders[0].parent
    shutil.rmtree(together, ignore_errors=True)
    try:
        if parts:
            pairs = zip(parts, folders, strict=True)
            hand_over(["pull", *(word for found, folder in pairs for word in (found, str(folder)))], where)
        settings = {"BESTIE_PARTS": str(count), "BESTIE_STATE": str(STATE)}
        log = where.log if parts else get_run_logger().debug
        yield replace(where, environment=where.environment | settings, log=log)
    finally:
        shutil.rmtree(together, ignore_errors=True)
