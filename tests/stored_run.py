"""A run as DVC leaves it, made from files in `data/`: `dvc.lock` and the cache, written without DVC and committed."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from bestie.audit.hashing import md5_path
from bestie.audit.objects import CACHE

IDENTITY = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in (("NAME", "Ada Example"), ("EMAIL", "ada@example.org"))
}


def record_stages(folder: Path, stages: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a `dvc.lock` with stages, and put what they read and wrote into the cache.

    Args:
        folder: the project.
        stages: for each name, `deps` and `outs` (paths in the folder) and `params` (as in `dvc.lock`), all optional.
    """
    lock = {
        name: {
            **stage,
            "cmd": f"python -m stages.{name}",
            **{kind: [_stored(folder, path) for path in stage.get(kind, ())] for kind in ("deps", "outs")},
        }
        for name, stage in stages.items()
    }
    (folder / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": lock}), encoding="utf-8")


def git(folder: Path, *arguments: str) -> str:
    """Run git as a made-up user, without the configuration of the machine; return what it printed."""
    environment = {**os.environ, **IDENTITY, "GIT_CONFIG_GLOBAL": os.devnull}
    command = ["git", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()


def _stored(folder: Path, path: str) -> dict[str, Any]:
    md5 = str(md5_path(folder / path))
    cached = folder / CACHE / md5[:2] / md5[2:]
    cached.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / path, cached)
    return {"path": path, "md5": md5, "size": cached.stat().st_size}
