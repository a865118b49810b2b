"""Clones of the working tree in folders of their own, with the smoke profile as parameters."""

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import yaml

from tests import workspace as ws


class Clone:
    """A clone of the working tree, in which commands run as a user would run them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("BESTIE_")},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder.parent),
            "BESTIE_DEVICE": "cpu",
            "DVC_NO_ANALYTICS": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            **{
                f"GIT_{role}_{key}": f"{key}@example.org"
                for role in ("AUTHOR", "COMMITTER")
                for key in ("NAME", "EMAIL")
            },
        }

    def run(self, *command: str) -> str:
        """Run a command in the clone; return what it printed."""
        ended = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, f"{' '.join(command)}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout

    def dvc(self, *arguments: str) -> str:
        return self.run("dvc", *arguments)

    def json(self, *arguments: str) -> dict:
        return json.loads(self.dvc(*arguments, "--json"))

    def repair(self) -> list[str]:
        """Run `bestie repair`; return what it did."""
        return json.loads(self.run("bestie", "repair", "--json"))

    def would_run(self, *options: str) -> set[str]:
        """Return the stages that `dvc repro` would run now."""
        return set(re.findall(r"Running stage '(\w+)'", self.dvc("repro", "--dry", *options)))

    def changed(self) -> set[str]:
        """Return the stages whose own parameters, code or data have changed."""
        return set(self.json("status"))

    def set_param(self, section: str, key: str, value: object) -> None:
        """Change one parameter in `params.yaml`, as a user does with an editor."""
        path = self.folder / "params.yaml"
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        values[section][key] = value
        path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")

    def commit(self, message: str) -> None:
        """Commit everything that git does not ignore."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def restore(self) -> None:
        """Restore all tracked files as they were committed."""
        self.run("git", "checkout", "--quiet", "--", ".")


def make_clone(folder: Path) -> Clone:
    """Return a git repository with the files of the working tree and the smoke profile in `params.yaml`; no commit yet.

    The `dvc.lock` of the working tree is left out, since nothing has run in the clone.
    """
    clone = Clone(folder)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ws.ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ws.ROOT / name).is_file() and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ws.ROOT / name, folder / name)
    with chdir(folder):
        ws.set_params()
    clone.run("git", "init", "--quiet")
    return clone
