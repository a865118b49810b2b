"""The scores of runs as rows of the tables: mean and spread over the seeds, beside the paper's numbers."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from bestie.tables.definition import SCORES, CurveLine, Row
from bestie.tables.plan import Plan, PlannedRun
from bestie.tables.runner import RunOutcome

LABEL_SCORES = {"pseudo_recall": "recall", "pseudo_precision": "precision"}
NEEDS_MAPS = "needs maps of this method: --wsss NAME=FOLDER"


@dataclass(frozen=True)
class Measured:
    """One score of a row for each seed, in per cent."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return statistics.fmean(self.values)

    @property
    def spread(self) -> float | None:
        """The standard deviation over the seeds; None with one seed."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class SummaryRow:
    """One row: the paper's scores, our scores, and a remark if some are missing."""

    row: Row
    paper: dict[str, float]
    here: dict[str, Measured]
    remark: str


@dataclass(frozen=True)
class SummaryTable:
    """One table; `steps` has a sentence on the rise from each row to the next if the table is ascending."""

    key: str
    title: str
    note: str
    columns: tuple[str, ...]
    scores: dict[str, str]
    rows: list[SummaryRow]
    steps: list[str]


@dataclass(frozen=True)
class SummaryCurve:
    """One line of a figure; `points` are (epoch, mean over the seeds in per cent)."""

    name: str
    constant: bool
    points: list[tuple[int, float]]


@dataclass(frozen=True)
class SummaryFigure:
    """One figure with its lines."""

    key: str
    title: str
    note: str
    quantity: str
    curves: list[SummaryCurve]


@dataclass(frozen=True)
class Summary:
    """Everything that the page shows."""

    profile: str
    seeds: tuple[int, ...]
    done: int
    total: int
    tables: list[SummaryTable]
    figures: list[SummaryFigure]


def summarize(plan: Plan, outcomes: Mapping[str, RunOutcome], *, with_mrcnn: bool) -> Summary:
    """Summarize the tables and figures as far as their runs have ended.

    Args:
        plan: the runs.
        outcomes: `PlannedRun.identity` -> the outcome of the run.
        with_mrcnn: also show the score of Mask R-CNN in every table.
    """
    ended = [outcome for run in plan.runs if (outcome := outcomes.get(run.identity))]
    return Summary(
        profile=plan.profile,
        seeds=plan.seeds,
        done=sum(outcome.scores is not None for outcome in ended),
        total=len(plan.runs),
        tables=[_table(key, plan, outcomes, with_mrcnn) for key in plan.definition.tables],
        figures=[_figure(key, plan, outcomes) for key in plan.definition.figures],
    )


def flat_scores(scores: Mapping[str, Any]) -> dict[str, float]:
    """Return the scores of one run by the names of `SCORES`, in per cent, without those that the run does not have."""
    network, labels = scores.get("bestie", {}), scores.get("pseudo_labels", {})
    found = {name: network.get(name) for name in SCORES if name in network}
    found["true_map50"] = scores.get("bestie_true_semantic", {}).get("map50")
    found["mrcnn_map50"] = scores.get("mrcnn", {}).get("map50")
    parts = {"semantic_miou": scores.get("semantic_miou"), "wsss_miou": scores.get("wsss_miou")}
    parts |= {name: labels.get(key) for name, key in LABEL_SCORES.items()}
    found |= {name: None if value is None else 100 * value for name, value in parts.items()}
    return {name: float(value) for name, value in found.items() if value is not None}


def as_json(summary: Summary) -> dict[str, Any]:
    """Return the numbers of the page as JSON values."""
    return {
        "profile": summary.profile,
        "seeds": list(summary.seeds),
        "runs": {"done": summary.done, "total": summary.total},
        "tables": {table.key: {"title": table.title, "rows": _json_rows(table)} for table in summary.tables},
        "figures": {
            figure.key: {
                "title": figure.title,
                "lines": [{"name": curve.name, "points": curve.points} for curve in figure.curves],
            }
            for figure in summary.figures
        },
    }


def _json_rows(table: SummaryTable) -> list[dict[str, Any]]:
    return [
        {
            **dict(zip(table.columns, row.row.cells, strict=True)),
            "paper": row.paper,
            "here": {
                name: {"mean": measured.mean, "spread": measured.spread, "values": list(measured.values)}
                for name, measured in row.here.items()
            },
            "remark": row.remark,
        }
        for row in table.rows
    ]


def _table(key: str, plan: Plan, outcomes: Mapping[str, RunOutcome], with_mrcnn: bool) -> SummaryTable:
    table = plan.definition.tables[key]
    names = list(table.scores) + (["mrcnn_map50"] if with_mrcnn else [])
    rows = []
    for number, row in enumerate(table.rows):
        found = _outcomes_of(key, number, plan, outcomes)
        scored = [flat_scores(outcome.scores) for outcome in found if outcome.scores is not None]
        here = {name: tuple(each[name] for each in scored if name in each) for name in names}
        measured = {name: Measured(values) for name, values in here.items() if values}
        rows.append(SummaryRow(row, dict(row.paper), measured, _remark(plan.runs_of.get((key, number)), found)))
    steps = [step for name in names for step in _steps(name, table.columns, rows)] if table.ascending else []
    return SummaryTable(key, table.title, table.note, table.columns, {n: SCORES[n] for n in names}, rows, steps)


def _outcomes_of(key: str, number: int, plan: Plan, outcomes: Mapping[str, RunOutcome]) -> list[RunOutcome]:
    runs = plan.runs_of.get((key, number), ())
    return [outcomes[run.identity] for run in runs if run.identity in outcomes]


def _remark(runs: Sequence[PlannedRun] | None, found: Sequence[RunOutcome]) -> str:
    if runs is None:
        return NEEDS_MAPS
    failed = [f"seed {outcome.run.seed} failed: {_reason(outcome.error)}" for outcome in found if outcome.error]
    missing = len(runs) - len(found)
    return "; ".join([*failed, *([f"{missing} of {len(runs)} seeds to come"] if missing else [])])


def _reason(error: str) -> str:
    """Return the line that says what was wrong; DVC prints its own message below that of the stage."""
    lines = [line for line in error.splitlines() if not line.startswith(("ERROR: failed to", "Traceback", "  "))]
    return (lines or error.splitlines() or ["no message"])[-1]


def _parts(columns: Sequence[str], row: Row) -> str:
    """Return the parts of the method that a row switches on, as text."""
    return " + ".join(name for name, cell in zip(columns, row.cells, strict=True) if cell == "✓") or "none"


def _steps(score: str, columns: Sequence[str], rows: Sequence[SummaryRow]) -> list[str]:
    """Return a sentence for each pair of successive rows: how much the score rises, with its spread, and in the paper.

    Scores other than mAP50 are named in the sentence.
    """
    sentences = []
    for before, after in pairwise(rows):
        if score not in before.here or score not in after.here:
            continue
        low, high = before.here[score], after.here[score]
        rise = high.mean - low.mean
        spread = _spread_of_rise(low, high)
        verdict = "one seed, no spread" if spread is None else f"spread {spread:.1f}"
        known = score in before.paper and score in after.paper
        beside = f"; the paper {after.paper[score] - before.paper[score]:+.1f}" if known else ""
        named = " → ".join(_parts(columns, each.row) for each in (before, after))
        prefix = "" if score == "map50" else f"{SCORES[score]}, "
        sentences.append(f"{prefix}{named}: {rise:+.1f} ({verdict}){beside}")
    return sentences


def _spread_of_rise(low: Measured, high: Measured) -> float | None:
    """Return the standard deviation of the rise over the seeds, paired; None without the same seeds in both rows."""
    if len(low.values) == len(high.values) > 1:
        return statistics.stdev(after - before for before, after in zip(low.values, high.values, strict=True))
    return None


def _figure(key: str, plan: Plan, outcomes: Mapping[str, RunOutcome]) -> SummaryFigure:
    figure = plan.definition.figures[key]
    is_refined = figure.quantity == "true_positives"
    kind, name, factor = ("refined", "recall", 100.0) if is_refined else ("detected", "map50", 1.0)
    scored = [
        [outcome.scores for outcome in _outcomes_of(key, number, plan, outcomes) if outcome.scores is not None]
        for number in range(len(figure.lines))
    ]
    epochs = sorted({row["epoch"] for runs in scored for scores in runs for row in scores[kind]})
    curves = []
    for line, runs in zip(figure.lines, scored, strict=True):
        values = [_values(scores, kind, name, epochs, line) for scores in runs]
        means = [factor * statistics.fmean(each) for each in zip(*values, strict=True)]
        curves.append(SummaryCurve(line.name, line.constant, list(zip(epochs, means, strict=True)) if means else []))
    return SummaryFigure(key, figure.title, figure.note, figure.quantity, curves)


def _values(scores: Mapping[str, Any], kind: str, name: str, epochs: Sequence[int], line: CurveLine) -> list[float]:
    """Return a run's values at some epochs: of its pseudo labels, or of its snapshots (0 for one without instances)."""
    if line.constant:
        return [scores["pseudo_labels"]["recall"]] * len(epochs)
    by_epoch = {row["epoch"]: row[name] for row in scores[kind]}
    return [by_epoch.get(epoch) or 0.0 for epoch in epochs]
