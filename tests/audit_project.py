"""A project with versions of labels, made without running DVC: `dvc.lock` and the cache are written as DVC would."""

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from bestie.artifacts.image_index import read_images
from bestie.artifacts.maps import MapReader, MapWriter
from bestie.audit.objects import CACHE
from bestie.method.targets import render_class_agnostic
from tests import workspace as ws
from tests.stored_run import git

LABELS = ("prepare", "train_pam", "extract_cues", "import_wsss", "make_pseudo_labels")


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def read_yaml(path: Path) -> Any:
    """Read a YAML file with the parser in C, since a lock has 1,400 lines."""
    return yaml.load(path.read_bytes(), yaml.CSafeLoader)


STAGES = ws.dvc_stages()


class Project:
    """A git repository with `params.yaml`, code and the artifacts of a finished run; `exists`: it is there."""

    def __init__(self, folder: Path, *, exists: bool = False) -> None:
        self.folder = folder
        if exists:
            return
        for name in ("bestie", "stages"):
            shutil.copytree(ws.ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("dvc.yaml", ".gitignore", ".dvcignore"):
            shutil.copy2(ws.ROOT / name, folder / name)
        (folder / ".dvc").mkdir(exist_ok=True)
        (folder / ".dvc" / "config").write_text("[core]\n    analytics = false\n", encoding="utf-8")
        (folder / ".dvc" / ".gitignore").write_text("/cache\n/tmp\n/config.local\n", encoding="utf-8")
        self.git("init", "--quiet", "--initial-branch", "main")

    def git(self, *arguments: str) -> str:
        return git(self.folder, *arguments)

    def commit(self, message: str, *stages: str) -> str:
        """Record stages as they are on disk, and commit; return the commit."""
        if stages:
            self.record(*stages)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def experiment(self, name: str, *stages: str) -> str:
        """Record stages as a DVC experiment on HEAD, then reset the branch and the workspace; return the commit."""
        baseline = self.git("rev-parse", "HEAD")
        sha = self.commit(f"experiment {name}", *stages)
        self.git("update-ref", f"refs/exps/{baseline[:2]}/{baseline[2:]}/{name}", sha)
        self.git("reset", "--quiet", "--hard", baseline)
        return sha

    def record(self, *stages: str) -> None:
        """Write what stages read and wrote into `dvc.lock`, and what they wrote into the cache."""
        path = self.folder / "dvc.lock"
        lock = read_yaml(path) if path.exists() else {"schema": "2.0", "stages": {}}
        for stage in stages:
            lock["stages"][stage] = self.lock_entry(stage)
        path.write_text(yaml.dump(lock, Dumper=yaml.CSafeDumper, sort_keys=False), encoding="utf-8")

    def lock_entry(self, stage: str) -> dict[str, Any]:
        """Return the entry of one stage in `dvc.lock`."""
        params = read_yaml(self.folder / "params.yaml")
        entry = STAGES[stage]
        deps = [re.sub(r"\$\{(\w+)\.(\w+)\}", lambda key: params[key[1]][key[2]], dep) for dep in entry["deps"]]
        entries = [*entry["outs"], *entry.get("metrics", [])]
        outs = [next(iter(each)) if isinstance(each, dict) else each for each in entries]
        return {
            "cmd": entry["cmd"],
            "deps": [self._entry(path, store=False) for path in sorted(deps)],
            "params": {"params.yaml": {name: params[name] for name in entry["params"]}},
            "outs": [self._entry(path, store=True) for path in sorted(outs)],
        }

    def stored(self, md5_hash: str) -> Path:
        """Return the path of an object in the cache."""
        return self.folder / CACHE / md5_hash[:2] / md5_hash[2:]

    def out(self, stage: str, path: str) -> str:
        """Return the hash of an output in `dvc.lock`."""
        lock = read_yaml(self.folder / "dvc.lock")
        return next(each["md5"] for each in lock["stages"][stage]["outs"] if each["path"] == path)

    def files_of(self, stage: str, path: str) -> dict[str, str]:
        """Return the hashes of the files of an output folder, by path in the folder."""
        listing = json.loads(self.stored(self.out(stage, path)).read_bytes())
        return {each["relpath"]: each["md5"] for each in listing}

    def _entry(self, path: str, *, store: bool) -> dict[str, Any]:
        return {"path": path, "hash": "md5", "md5": self._hash(self.folder / path, store=store)}

    def _hash(self, path: Path, *, store: bool) -> str:
        if path.is_dir():
            files = sorted(each for each in path.rglob("*") if each.is_file() and "__pycache__" not in each.parts)
            listing = [
                {"md5": self._hash(each, store=store), "relpath": each.relative_to(path).as_posix()} for each in files
            ]
            data, suffix = json.dumps(listing, sort_keys=True).encode(), ".dir"
        else:
            data, suffix = path.read_bytes(), ""
        name = md5(data) + suffix
        if store and not self.stored(name).exists():
            self.stored(name).parent.mkdir(parents=True, exist_ok=True)
            self.stored(name).write_bytes(data)
        return name


def write_maps_of_before() -> None:
    """Write the maps of the pseudo labels as earlier versions of the stage did, with offset and center maps."""
    path = Path("data/make_pseudo_labels/maps.zarr")
    maps = MapReader(path)
    arrays = {"instance": ("uint16", 0), "offset": ("int16", 0, 2), "center": ("uint8", 0)}
    with MapWriter(path, arrays, maps.n_rows, maps.canvas_hw, {"sigma_px": 4.0}) as writer:
        for record in read_images(Path("data/prepare/images.parquet"), "train"):
            instance = maps.read(record.row, "instance", record.height, record.width)
            targets = render_class_agnostic(instance, sigma_px=4.0)
            writer.write(record.row, "instance", instance)
            writer.write(record.row, "offset", targets.offset.astype(np.int16))
            writer.write(record.row, "center", np.round(targets.center[0] * 255).astype(np.uint8))
