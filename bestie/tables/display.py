"""The display while tables run: one line per run and, in a terminal, progress bars with an estimate."""

import statistics
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from bestie.report.page import format_seconds
from bestie.runtime.progress import parse_progress
from bestie.tables.plan import PlannedRun
from bestie.tables.results import flat_scores
from bestie.tables.runner import RunOutcome


class Display:
    """A display that counts runs, and shows the stage that is running.

    Args:
        total: the number of runs.
        console: where to print; there are no bars if it is not a terminal.
    """

    def __init__(self, total: int, console: Console) -> None:
        self._total, self._console = total, console
        self._done = 0
        self._seconds: list[float] = []
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[left]}"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._runs = self._bars.add_task("runs", total=total, left="")
        self._stage = self._bars.add_task("", total=1, left="", visible=False)

    def __enter__(self) -> "Display":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def start(self, run: PlannedRun) -> None:
        """Show that a run begins."""
        self._bars.update(self._runs, description=f"{run.name}, seed {run.seed}".replace("[", r"\["), left=self._left())

    def line(self, text: str) -> None:
        """Show a stage's line in the bar if it is progress; any other line is not shown."""
        values = parse_progress(text)
        if values is not None:
            self._bars.update(
                self._stage,
                description=f"  {values['progress']}",
                completed=values["done"],
                total=values["total"],
                visible=True,
            )

    def end(self, outcome: RunOutcome) -> None:
        """Show that a run has ended, now or earlier."""
        self._done += 1
        if outcome.scores is not None:
            self._seconds.append(outcome.seconds)
        self._bars.update(self._runs, completed=self._done, left=self._left())
        self._bars.update(self._stage, visible=False)
        took = format_seconds(outcome.seconds) if outcome.is_new else "done before"
        self._console.print(
            f"[{self._done} of {self._total}] {outcome.run.name}, seed {outcome.run.seed}: {_result(outcome)} "
            f"({', '.join(filter(None, [took, self._left()]))})",
            markup=False,
            soft_wrap=True,
        )

    def _left(self) -> str:
        """Return the time left, if each remaining run takes the mean time of those before."""
        left = self._total - self._done
        if not left or not self._seconds:
            return ""
        return f"about {format_seconds(left * statistics.fmean(self._seconds))} left"


def _result(outcome: RunOutcome) -> str:
    if outcome.scores is None:
        return "failed\n" + "\n".join(f"    {line}" for line in outcome.error.splitlines())
    map50 = flat_scores(outcome.scores).get("map50")
    return "mAP50 is not defined" if map50 is None else f"mAP50 {map50:.1f}"
