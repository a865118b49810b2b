"""One stage on a worker, as a Prefect flow: inputs come from the DVC remote, and outputs go back to it."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger

from bestie.artifacts.paths import part_folders
from flows import workspace
from flows.lock_entries import format_lock_entries, read_lock_entries
from flows.own_clone import STATE, Assignment, hand_over, move_outputs, prepared_clone, send, watched
from flows.repro import StageOutcome, Surroundings, completed, repro_stage
from flows.server import wait_until_it_answers
from flows.stopping import Stop

#: The description of the artifact that holds what a stage added to `dvc.lock`.
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
        lock: the text of `dvc.lock`, with every stage that this one reads from; may be empty.
        force: run it even if it is up to date.
        count: the number of parts that other runs compute; 0: this run computes the whole stage.
        parts: the hashes of these parts, which this run joins. None: they are not computed yet; if DVC can neither
            leave the stage as it is nor restore it, this run ends as ToCompute.
    """
    assignment = Assignment(name, revision, params, lock)
    return watched(lambda root, stop: _bring_up_to_date(root, stop, assignment, force, count, parts or ()))


def _bring_up_to_date(
    root: Path, stop: Stop, assignment: Assignment, force: bool, count: int, parts: Sequence[str]
) -> State:
    name = assignment.name
    with prepared_clone(root, stop, assignment) as where:
        with _with_parts(where, name, count, parts) as joining:
            outcome = repro_stage(name, joining, ["--pull", *(["--force"] if force else [])])
        if outcome is not StageOutcome.WANTED:
            send(move_outputs, ["push", "--run-cache", name], where)
        wait_until_it_answers(stop.sleep)  # the server takes the slot back, and gets the entry
        entry = read_lock_entries(root / workspace.LOCK).get(name)
    if outcome is not StageOutcome.WANTED:
        create_markdown_artifact(f"```yaml\n{format_lock_entries({name: entry})}```\n", description=LOCK_ENTRY)
    return completed(outcome)


@contextmanager
def _with_parts(where: Surroundings, name: str, count: int, parts: Sequence[str]) -> Iterator[Surroundings]:
    """Yield surroundings in which the stage joins its parts, which lie in the clone meanwhile; `where` without parts.

    If the parts are not computed yet, the stage prints what is missing. That goes only to the debug log: it is not an
    error, and the state of the run says it.
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
