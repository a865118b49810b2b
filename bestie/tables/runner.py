"""Runs of a plan, one after the other, through DVC. Each leaves its numbers in a file: an interruption costs little."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bestie.artifacts.metrics_json import read_json, write_json
from bestie.errors import InputError
from bestie.params_file import read_yaml
from bestie.tables.plan import TRUE_MAPS, Plan, Run, digest
from bestie.tables.workspace import Workspace

RESULTS = Path("runs")
OWN_CODE = ("bestie/tables/inputs.py", "bestie/tables/score.py")


@dataclass(frozen=True)
class Outcome:
    """What became of a run: its scores, or why it failed. `is_new` where it was not found from an earlier time."""

    run: Run
    scores: dict[str, Any] | None
    error: str = ""
    seconds: float = 0.0
    is_new: bool = False


class Runner:
    """Runs what has no result yet.

    A result counts as long as parameters, code and data are the same; the trainings behind it are DVC's.

    Args:
        workspace: the folder in which the stages run.
        out: the folder of the results.
        with_mrcnn: also train Mask R-CNN, and take all scores from the stage `evaluate`.
    """

    def __init__(self, workspace: Workspace, out: Path, *, with_mrcnn: bool) -> None:
        self._workspace = workspace
        self._results = out / RESULTS
        self._with_mrcnn = with_mrcnn
        self._code = code_version(workspace.folder)
        self._data: dict[str, str] = {}

    def outcomes(self, plan: Plan, *, starts: Callable[[Run], None]) -> Iterable[Outcome]:
        """The outcome of each run, those with a result first; `starts` is called before one that has none yet.

        What is left to do, and how long it takes, is known from the start this way.
        """
        missing: list[tuple[Run, Path]] = []
        for run in plan.runs:
            try:
                path = self._path(plan, run)
            except InputError as error:
                yield Outcome(run, None, str(error), is_new=True)
                continue
            if path.is_file():
                kept = read_json(path)
                yield Outcome(run, kept["scores"], seconds=kept["seconds"])
            else:
                missing.append((run, path))
        for run, path in missing:
            starts(run)
            yield self._run(plan, run, path)

    def _path(self, plan: Plan, run: Run) -> Path:
        """The file of a run's result, named by all that it depends on."""
        parts = [run.params[section] for section in ("dataset", "prepare", "import_wsss")]
        key = digest([*parts, run.true_maps])
        if key not in self._data:
            self._workspace.set_params(plan.profile, run.params)
            stages = ["prepare"] if run.true_maps else ["prepare", "import_wsss"]
            self._workspace.repro(*stages)
            self._data[key] = digest([self._workspace.lock_entry(stage)["outs"] for stage in stages])
        return self._results / f"{digest([run.identity, self._with_mrcnn, self._code, self._data[key]])}.json"

    def _run(self, plan: Plan, run: Run, path: Path) -> Outcome:
        started = time.monotonic()
        try:
            self._workspace.set_params(plan.profile, run.params)
            self._train(run)
            scored = self._workspace.folder / ".bestie" / "scores.json"
            options = ["--evaluated"] if self._with_mrcnn else []
            self._workspace.run("-m", "bestie.tables.score", str(scored), *options)
        except InputError as error:
            return Outcome(run, None, str(error), time.monotonic() - started, is_new=True)
        seconds = time.monotonic() - started
        scores = read_json(scored)
        write_json(path, {"run": run.name, "seed": run.seed, "seconds": seconds, "scores": scores})
        return Outcome(run, scores, seconds=seconds, is_new=True)

    def _train(self, run: Run) -> None:
        workspace = self._workspace
        if run.true_maps:
            workspace.repro("prepare")
            workspace.run("-m", "bestie.tables.inputs", "true-maps", TRUE_MAPS)
        if not run.iterations:
            workspace.repro("evaluate" if self._with_mrcnn else "train_bestie")
            return
        workspace.repro("export_mrcnn")
        for iteration in range(run.iterations):
            if iteration:
                workspace.repro("export_mrcnn", single=True)
            workspace.run("-m", "bestie.tables.inputs", "labels-from-export")
            workspace.repro("train_bestie", single=True)
        for stage in ("export_mrcnn", "train_mrcnn", "evaluate") if self._with_mrcnn else ():
            workspace.repro(stage, single=True)


def code_version(folder: Path) -> str:
    """A hash of all code that a result depends on: what the stages declare, and what scores them."""
    stages = read_yaml(folder / "dvc.yaml")["stages"].values()
    names = {name for stage in stages for name in stage["deps"] if name.endswith(".py")} | set(OWN_CODE)
    return digest([[name, (folder / name).read_text(encoding="utf-8")] for name in sorted(names)])
