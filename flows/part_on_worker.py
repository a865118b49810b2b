"""One part of a stage on a worker, as a Prefect flow: some of the images; another worker joins all parts."""

import shutil
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from time import monotonic

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed

from bestie.artifacts.paths import part_folder
from bestie.audit.hashing import md5_path
from flows.own_clone import STATE, Assignment, hand_over, prepared_clone, send, watched
from flows.repro import explain, run_command
from flows.server import wait_until_it_answers
from flows.stopping import Stop

#: The description of the artifact that holds the hash of a part.
PART = "part of a stage"


@flow(name="part", description="Compute one part of a stage in this worker's clone, for another worker to join.")
def part(name: str, number: int, count: int, revision: str, params: str, lock: str) -> State:
    """Compute one part of a stage, and send it to the DVC remote.

    Args:
        name: the stage.
        number: the part, from 1.
        count: the number of parts.
        revision: the commit to check out.
        params: the text of `params.yaml`.
        lock: the text of `dvc.lock`, with every stage that this one reads from.
    """
    assignment = Assignment(name, revision, params, lock)
    return watched(lambda root, stop: _compute(root, stop, assignment, number, count))


def _compute(root: Path, stop: Stop, assignment: Assignment, number: int, count: int) -> State:
    name = assignment.name
    folder = part_folder(STATE, name, number, count)
    times = [monotonic()]
    with prepared_clone(root, stop, assignment) as where:
        shutil.rmtree(root / folder.parent, ignore_errors=True)
        try:
            settings = {"BESTIE_PARTS": f"{number}/{count}", "BESTIE_STATE": str(STATE)}
            times.append(monotonic())
            in_part = replace(where, environment=where.environment | settings)
            status, lines = run_command([sys.executable, "-m", f"stages.{name}"], in_part)
            if status != 0:
                raise explain(f"part {number} of {count} of {name}", status, lines)
            times.append(monotonic())
            send(hand_over, ["push", str(folder)], where)
            times.append(monotonic())
            found = md5_path(root / folder)
        finally:
            shutil.rmtree(root / folder.parent, ignore_errors=True)
        wait_until_it_answers(stop.sleep)  # the server takes the slot back, and gets the hash
    inputs, computation, handed_over = (after - before for before, after in pairwise(times))
    get_run_logger().info(f"inputs {inputs:.1f} s, computation {computation:.1f} s, hand-over {handed_over:.1f} s")
    create_markdown_artifact(str(found), description=PART)
    return Completed(message=f"computed part {number} of {count}")
