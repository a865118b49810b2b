"""What `dvc.lock` says about a finished run: its stages, and the hashes of what they wrote."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from dvc.utils.serialize import dumps_yaml

Lock = dict[str, Any]


def read_lock(path: Path) -> Lock:
    """The stages of a `dvc.lock`; empty where there is none."""
    return parse_lock(path.read_text(encoding="utf-8")) if path.exists() else {}


def parse_lock(text: str) -> Lock:
    """The stages of the text of a `dvc.lock`."""
    return (yaml.safe_load(text) or {}).get("stages", {})


def format_lock(stages: Mapping[str, Any]) -> str:
    """The text of a `dvc.lock`."""
    return dumps_yaml({"schema": "2.0", "stages": dict(stages)})


def outputs(lock: Lock, *stages: str) -> dict[str, str]:
    """MD5 hashes by path of what stages wrote; those of folders end in ".dir"."""
    return {out["path"]: out["md5"] for name in stages if name in lock for out in lock[name].get("outs", ())}
