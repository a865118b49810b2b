"""Kill `dvc repro` at random moments, repair, start it again, and compare the result with an undisturbed run."""

import math
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import chdir, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml

from tests import workspace as ws
from tests.clones import Clone

#: The longest wait for a moment to kill, at first: DVC takes about as long to start.
START_S = 3.0
#: What a run leaves; without it a clone is as before its first run.
LEFT_BY_A_RUN = (
    "data/raw/generated",
    ".dvc/cache",
    ".dvc/tmp",
    ".bestie",
    "dvc.lock",
    *(f"data/{s}" for s in ws.STAGES),
)


@dataclass
class Harness:
    """Runs in a clone that are killed, and what they were compared with.

    Attributes:
        clone: where the runs are killed.
        reference: a clone in which the same run was not disturbed.
        target: the last stage to run.
        rng: draws the moments.
        killed_in: the stages that were running when they were killed; "dvc" where none was.
        rounds: how often the run came to its end.
        repairs: what `bestie repair` said that it did, before each start at which it had anything to do.
    """

    clone: Clone
    reference: Clone
    target: str
    rng: random.Random
    killed_in: list[str] = field(default_factory=list)
    rounds: int = 0
    repairs: list[list[str]] = field(default_factory=list)

    def kill(self, times: int) -> None:
        """Kill `times` runs, each at a moment of its own; one that ends before is checked, and begins anew.

        One moment in four lies in DVC's start, the others in a stage, or soon after its end. The longest wait in a
        stage grows with every kill in it: so each is killed a few times and then gets past, however slow the machine
        is.
        """
        waits = dict.fromkeys(ws.STAGES, START_S)
        while len(self.killed_in) < times:
            process = self._start()
            try:
                if self.rng.random() < 0.25:
                    process.wait(self.rng.uniform(0, START_S))
                else:
                    stage = wait_for_stage(process)
                    while stage:
                        waits[stage] *= 1.3
                        stage = wait_for_stage(process, after=stage, seconds=self.rng.uniform(0, waits[stage]))
            except subprocess.TimeoutExpired:
                self.killed_in.append(kill_tree(process))
                print(f"kill {len(self.killed_in)} in {self.killed_in[-1]}, round {self.rounds + 1}", flush=True)
                self.check_complete()
            else:
                assert process.returncode == 0, (self.clone.folder / "repro.log").read_text(encoding="utf-8")
                self.check_equal()
                self._wipe()
                waits = dict.fromkeys(waits, START_S)

    def finish(self) -> None:
        """Let the run come to its end, without clearing anything first."""
        process = self._start()
        assert process.wait() == 0, (self.clone.folder / "repro.log").read_text(encoding="utf-8")
        self.check_equal()

    def check_complete(self) -> None:
        """Whatever has its final name has the bytes of the undisturbed run."""
        for stage in ws.STAGES:
            for out in ws.declared_outputs(stage):
                found = self._digests(self.clone, out)
                assert not found or found == self._digests(self.reference, out), f"{out} after {self.killed_in[-1]}"

    def check_equal(self) -> None:
        """`dvc.lock` has the hashes of the undisturbed run for all stages that ran."""
        own, expected = (locked_outputs(each) for each in (self.clone, self.reference))
        assert self.target in own
        assert [name for name in own if own[name] != expected[name]] == []
        self.rounds += 1

    def _start(self) -> subprocess.Popen:
        if done := self.clone.repair():
            self.repairs.append(done)
            print(f"repair after kill {len(self.killed_in)}: {' '.join(done)}", flush=True)
        with (self.clone.folder / "repro.log").open("w", encoding="utf-8") as log:
            return subprocess.Popen(
                ["dvc", "repro", self.target],
                cwd=self.clone.folder,
                env=self.clone.environment | {"BESTIE_CHECKPOINT_MINUTES": "0"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _wipe(self) -> None:
        for name in LEFT_BY_A_RUN:
            path = self.clone.folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def _digests(self, clone: Clone, out: Path) -> dict[str, str]:
        with chdir(clone.folder):
            return ws.digests([out]) if out.exists() else {}


def kill_tree(process: subprocess.Popen) -> str:
    """SIGKILL to a process and all below it at once; returns the stage that was running, else "dvc"."""
    with suppress(psutil.NoSuchProcess):
        tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        words = [word for each in tree for word in _command(each)]
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    while any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in tree):
        time.sleep(0.05)
    return stage_in(words) or "dvc"


def wait_for_stage(process: subprocess.Popen, *, after: str = "", seconds: float = math.inf) -> str | None:
    """Wait until a run of DVC starts a stage, another one than `after`.

    Returns:
        Its name; None when the run has ended.

    Raises:
        TimeoutExpired: neither has happened for `seconds`.
    """
    deadline = time.monotonic() + seconds
    while process.poll() is None:
        if time.monotonic() > deadline:
            raise subprocess.TimeoutExpired(process.args, seconds)
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(process.pid).children(recursive=True)
            stage = stage_in(word for each in children for word in _command(each))
            if stage and stage != after:
                return stage
        time.sleep(0.1)
    return None


def stage_in(words: Iterable[str]) -> str | None:
    """The stage that the words of some command lines name."""
    return next((word.removeprefix("stages.") for word in words if word.startswith("stages.")), None)


def locked_outputs(clone: Clone) -> dict[str, dict[str, str]]:
    """The hash of each output by stage, as `dvc.lock` has them."""
    lock = yaml.safe_load((clone.folder / "dvc.lock").read_text(encoding="utf-8"))
    return {name: {out["path"]: out["md5"] for out in entry["outs"]} for name, entry in lock["stages"].items()}


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has ended meanwhile
        return []
