"""What a checkpoint, or a part of a stage, was made from, as one short text."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

CODE = Path(__file__).parent


def fingerprint(inputs: Iterable[Path], **values: Any) -> str:
    """A short hash of the bytes of files and folders, of named values, and of this package's code.

    Args:
        inputs: artifacts and the stage's own file; a folder counts with all files in it but compiled Python.
        values: sections of the parameters, and whatever else JSON can hold.
    """
    digest = hashlib.sha256(json.dumps(values, sort_keys=True, default=_plain).encode())
    for path in [*inputs, CODE]:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            if ".pyc" not in file.suffixes:  # while it is written it has another suffix behind
                digest.update(_place(file).encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _plain(value: Any) -> Any:
    return value.model_dump() if isinstance(value, BaseModel) else str(value)


def _place(file: Path) -> str:
    """A name that is the same in every clone: a checkpoint may be continued, and a part joined, in another one."""
    return str(file.relative_to(CODE.parent) if file.is_relative_to(CODE.parent) else file)
