"""The entries of `dvc.lock`: the stages of a finished run, and the hashes of what they wrote."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from dvc.utils.serialize import dumps_yaml

Lock = dict[str, Any]


def read_lock_entries(path: Path) -> Lock:
    """Return the stages of a `dvc.lock`; empty if there is no such file."""
    return parse_lock_entries(path.read_text(encoding="utf-8")) if path.exists() else {}


def parse_lock_entries(text: str) -> Lock:
    """Return the stages in the text of a `dvc.lock`."""
    return (yaml.safe_load(text) or {}).get("stages", {})


def format_lock_entries(stages: Mapping[str, Any]) -> str:
    """Return the text of a `dvc.lock` with some stages."""
    return dumps_yaml({"schema": "2.0", "stages": dict(stages)})


def outputs(lock: Lock, *stages: str) -> dict[str, str]:
    """Return the MD5 hashes of what stages wrote, by path; those of folders end in `.dir`."""
    return {out["path"]: out["md5"] for name in stages if name in lock for out in lock[name].get("outs", ())}
