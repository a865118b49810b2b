"""Check whether the data set has changed, and tell the server, which then starts the pipeline.

`python -m flows.new_data` checks once; the deployment `new-data` does so on a schedule.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from prefect.variables import Variable

from bestie.errors import InputError
from bestie.params.params_yaml import load_params
from flows.server import connected

EVENT = "bestie.data.changed"


@flow(name="new-data", description="Tell the server when the files of the data set have changed.")
def new_data(folder: str | None = None) -> State:
    """Compare the files of a folder with those that earlier checks saw.

    A change is reported when two checks in a row see the same new files, so that a copy in progress can finish first.
    The very first check takes the files as known.

    Args:
        folder: the folder to check; None: `dataset.root` of `params.yaml`.
    """
    try:
        return _look(folder)
    except InputError as error:
        return Failed(message=str(error))


def _look(folder: str | None) -> State:
    dataset = load_params().dataset
    root = Path(folder) if folder else dataset.root
    if not root.is_dir():
        raise InputError(f"there is no folder {root} to look at; correct `folder`, or dataset.root in params.yaml")
    seen = files_hash(root)
    name = "bestie_data_" + hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:12]
    known = Variable.get(name, default=None)
    told, last = (known["told"], known["last"]) if isinstance(known, dict) else (seen, seen)
    changed = seen != told and seen == last
    Variable.set(name, {"folder": str(root), "told": seen if changed else told, "last": seen}, overwrite=True)
    if not changed:
        return Completed(message=f"{root}: {'files are changing' if seen != told else 'no change'}")
    resource = {"prefect.resource.id": f"bestie.data.{dataset.name}", "prefect.resource.name": dataset.name}
    emit_event(EVENT, resource, payload={"folder": str(root), "files": seen})
    get_run_logger().info("%s has new files", root)
    return Completed(message=f"{root} has new files; the server was told")


def files_hash(root: Path) -> str:
    """Return a hash of the names, sizes and times of all files in a folder; it is fast even for millions of files."""
    digest = hashlib.sha256()
    for path, status in sorted(_files(root)):
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _files(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    for folder, folders, names in os.walk(root, followlinks=True):
        folders.sort()
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118  a Path for each of millions of files takes minutes
            yield os.path.relpath(path, root), os.stat(path)  # noqa: PTH116


if __name__ == "__main__":
    with connected():
        new_data()
