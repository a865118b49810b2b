"""A short hash of everything that a checkpoint, or a part of a stage, depends on."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from bestie.params.reading import read_yaml

#: The clone that this code belongs to.
PROJECT = Path(__file__).resolve().parents[2]
#: Dependencies in `dvc.yaml` that begin with one of these are code.
PACKAGES = ("bestie/", "stages/")


def fingerprint(stage: str, inputs: Iterable[Path], **values: Any) -> str:
    """Return a short hash of a stage's code, of the bytes of its inputs, and of named values.

    Args:
        stage: the stage's name; its code is the files that it declares in `dvc.yaml`.
        inputs: files and folders.
        values: sections of the parameters, and any other values that JSON can represent.

    Raises:
        InputError: the clone has no `dvc.yaml`, or the file is malformed.
    """
    digest = hashlib.sha256(json.dumps(values, sort_keys=True, default=_plain).encode())
    for file in [*(each for path in inputs for each in files_below(path)), *declared_code(PROJECT, [stage])]:
        # Names are relative to the clone: a checkpoint may be continued, and a part joined, in another one.
        name = file.relative_to(PROJECT) if file.is_relative_to(PROJECT) else file
        digest.update(str(name).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def declared_code(project: Path, stages: Iterable[str] | None = None) -> list[Path]:
    """Return the code files that stages declare in `dvc.yaml`, each once, sorted by path.

    Args:
        project: the folder with `dvc.yaml`.
        stages: names of stages; None: all.

    Raises:
        InputError: the folder has no `dvc.yaml`, or the file is malformed.
    """
    declared = read_yaml(project / "dvc.yaml")["stages"]
    names = declared if stages is None else stages
    paths = {project / dep for name in names for dep in declared[name]["deps"] if dep.startswith(PACKAGES)}
    return sorted({file for path in paths for file in files_below(path)})


def files_below(path: Path) -> list[Path]:
    """Return the files of a folder, or the file itself; compiled Python is left out."""
    if not path.is_dir():
        return [path]
    # While Python is writing a compiled file, its name has one more suffix.
    return sorted(each for each in path.rglob("*") if each.is_file() and ".pyc" not in each.suffixes)


def _plain(value: Any) -> Any:
    return value.model_dump() if isinstance(value, BaseModel) else str(value)
