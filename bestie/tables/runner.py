"""The runs of a plan, one after another, through DVC. Each writes its scores, so an interruption costs little."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bestie.artifacts.metrics_json import read_json, write_json
from bestie.artifacts.paths import OWN_MAPS
from bestie.errors import InputError
from bestie.runtime.fingerprint import declared_code
from bestie.tables.plan import TRUE_MAPS, Plan, PlannedRun, digest
from bestie.tables.sandbox import Workspace

RESULTS = Path("runs")
OWN_CODE = ("bestie/tables/inputs.py", "bestie/tables/score.py")


@dataclass(frozen=True)
class RunOutcome:
    """The outcome of a run: its scores, or why it failed.

    Attributes:
        run: the run.
        scores: the scores; None if the run failed.
        error: why it failed.
        seconds: how long it took.
        is_new: whether it ran now; otherwise its scores were there already.
    """

    run: PlannedRun
    scores: dict[str, Any] | None
    error: str = ""
    seconds: float = 0.0
    is_new: bool = False


class Runner:
    """Runs everything that has no result yet.

    A result is valid as long as parameters, code and data stay the same. DVC runs the trainings, and caches them.

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

    def outcomes(self, plan: Plan, *, starts: Callable[[PlannedRun], None]) -> Iterable[RunOutcome]:
        """Yield the outcome of each run, starting with the runs that have a result.

        So it is known early how much is left to do, and how long a run takes.

        Args:
            plan: the runs.
            starts: called before each run that has no result yet.
        """
        missing: list[tuple[PlannedRun, Path]] = []
        for run in plan.runs:
            try:
                path = self._path(plan, run)
            except InputError as error:
                yield RunOutcome(run, None, str(error), is_new=True)
                continue
            if path.is_file():
                kept = read_json(path)
                yield RunOutcome(run, kept["scores"], seconds=kept["seconds"])
            else:
                missing.append((run, path))
        for run, path in missing:
            starts(run)
            yield self._run(plan, run, path)

    def _path(self, plan: Plan, run: PlannedRun) -> Path:
        """Return the file of a run's result, named by a hash of everything that it depends on."""
        parts = [run.params[section] for section in ("dataset", "prepare", "import_wsss")]
        key = digest([*parts, run.true_maps])
        if key not in self._data:
            self._workspace.set_params(plan.profile, run.params)
            # Own maps follow from the parameters, the code and the images.
            given = not run.true_maps and Path(run.params["import_wsss"]["source"]) != OWN_MAPS
            stages = ["prepare", "import_wsss"] if given else ["prepare"]
            self._workspace.repro(*stages)
            self._data[key] = digest([self._workspace.lock_entry(stage)["outs"] for stage in stages])
        return self._results / f"{digest([run.identity, self._with_mrcnn, self._code, self._data[key]])}.json"

    def _run(self, plan: Plan, run: PlannedRun, path: Path) -> RunOutcome:
        started = time.monotonic()
        try:
            self._workspace.set_params(plan.profile, run.params)
            self._train(run)
            scored = self._workspace.folder / ".bestie" / "scores.json"
            options = ["--evaluated"] if self._with_mrcnn else []
            self._workspace.run("-m", "bestie.tables.score", str(scored), *options)
        except InputError as error:
            return RunOutcome(run, None, str(error), time.monotonic() - started, is_new=True)
        seconds = time.monotonic() - started
        scores = read_json(scored)
        write_json(path, {"run": run.name, "seed": run.seed, "seconds": seconds, "scores": scores})
        return RunOutcome(run, scores, seconds=seconds, is_new=True)

    def _train(self, run: PlannedRun) -> None:
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
    """Return a hash of all code that a result depends on: what the stages declare, and what scores them."""
    files = {*declared_code(folder), *(folder / name for name in OWN_CODE)}
    return digest([[str(file.relative_to(folder)), file.read_text(encoding="utf-8")] for file in sorted(files)])
