"""Scores of runs as tables: means, spreads, steps, and the page that shows them."""

import json
from collections.abc import Callable

import pytest

from bestie.tables.definition import read_definition
from bestie.tables.plan import Plan, PlannedRun, make_plan
from bestie.tables.results import Summary, as_json, flat_scores, summarize
from bestie.tables.runner import RunOutcome
from bestie.tables.tables_page import render_tables
from tests import workspace as ws

KEYS = ("table3", "table4", "table7", "figure6", "figure7")


def scores(map50: float) -> dict:
    """What scoring a run gives; curves over two epochs."""
    return {
        "bestie": {"map25": map50 + 10, "map50": map50, "map75": map50 / 2, "instances": 7},
        "bestie_true_semantic": {"map50": 2 * map50},
        "semantic_miou": 0.5,
        "wsss_miou": 0.7,
        "pseudo_labels": {"recall": 0.3, "precision": 0.8},
        "refined": [{"epoch": 1, "recall": 0.25}, {"epoch": 2, "recall": 0.45}],
        "detected": [{"epoch": 1, "map50": map50 / 2}, {"epoch": 2, "map50": map50}],
    }


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(read_definition(keys=KEYS), "voc_subset", folder=ws.ROOT / "profiles", seeds=[0, 1])


def summary_of(plan: Plan, value: Callable[[int, PlannedRun], float | None], **options) -> Summary:
    """Every run has the mAP50 of its number; None: it failed."""
    outcomes = {}
    for number, run in enumerate(plan.runs):
        map50 = value(number, run)
        error = "" if map50 is not None else "train_bestie: the loss is not finite\nERROR: failed to reproduce 'x'"
        outcomes[run.identity] = RunOutcome(run, None if map50 is None else scores(map50), error, is_new=True)
    return summarize(plan, outcomes, with_mrcnn=False, **options)


def test_a_row_has_mean_and_spread_over_the_seeds(plan: Plan):
    summary = summary_of(plan, lambda number, run: 10.0 + 4 * run.seed)
    row = summary.tables[0].rows[4]
    assert row.here["map50"].values == (10.0, 14.0)
    assert row.here["map50"].mean == 12.0
    assert row.here["map50"].spread == pytest.approx(2.828, abs=1e-3)
    assert row.paper == {"map50": 41.8}


def test_steps_say_the_rise_of_each_row(plan: Plan):
    def value(number: int, run: PlannedRun) -> float:
        row = next(k for k in range(5) if run in plan.runs_of["table3", k]) if "table3" in run.name else 0
        return 10.0 * row + (5 if run.seed and row else 0)

    steps = summary_of(plan, value).tables[0].steps
    assert steps[0] == "none → PAM: +12.5 (spread 3.5); the paper +16.4"
    assert steps[1] == "PAM → PAM + guidance: +10.0 (spread 0.0); the paper +9.9"
    assert steps[4] == "mAP50 with the true semantic map, none → PAM: +25.0 (spread 7.1)"
    assert len(steps) == 8


def test_scores_are_in_per_cent_and_absent_ones_left_out():
    assert flat_scores(scores(20.0)) == {
        "map25": 30.0,
        "map50": 20.0,
        "map75": 10.0,
        "true_map50": 40.0,
        "semantic_miou": 50.0,
        "wsss_miou": 70.0,
        "pseudo_recall": 30.0,
        "pseudo_precision": 80.0,
    }
    assert flat_scores({"bestie": {"map50": None}, "mrcnn": {"map50": 5.0}}) == {"mrcnn_map50": 5.0}


def test_what_is_missing_says_why(plan: Plan):
    summary = summary_of(plan, lambda number, run: None if run.seed == 1 else 20.0)
    assert summary.tables[0].rows[0].remark == "seed 1 failed: train_bestie: the loss is not finite"
    assert summary.tables[0].rows[0].here["map50"].spread is None
    assert "--wsss" in summary.tables[1].rows[0].remark
    nothing = summarize(plan, {}, with_mrcnn=True)
    assert nothing.tables[0].rows[0].remark == "2 of 2 seeds to come"
    assert list(nothing.tables[0].scores) == ["map50", "true_map50", "mrcnn_map50"]


def test_curves_are_means_by_epoch(plan: Plan):
    summary = summary_of(plan, lambda number, run: 10.0 + 10 * run.seed)
    refined, pseudo, _ = summary.figures[0].curves
    assert refined.points == [(1, 25.0), (2, 45.0)]
    assert pseudo.points == [(1, 30.0), (2, 30.0)]
    assert summary.figures[1].curves[0].points == [(1, 7.5), (2, 15.0)]


def test_the_page_has_both_sides_and_asks_nobody(plan: Plan):
    text = render_tables(summary_of(plan, lambda number, run: 33.3 + run.seed))
    for wanted in ("Table 3", "33.8 ± 0.7", "41.8", "table7-map50", "figure6", "figure7", "+16.4"):
        assert wanted in text
    assert "default-src &#39;none&#39;" in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text
    assert "style=" not in text


def test_the_page_of_no_run_says_so(plan: Plan):
    text = render_tables(summarize(plan, {}, with_mrcnn=False))
    assert "0 of" in text
    assert "no run has ended yet" in text


def test_names_are_escaped(plan: Plan):
    evil = plan.definition.tables["table7"].model_copy(update={"title": "<script>alert(1)</script>"})
    definition = plan.definition.model_copy(update={"tables": {"table7": evil}, "figures": {}})
    plan = make_plan(definition, "smoke", folder=ws.ROOT / "profiles", seeds=[0])
    assert "<script>alert" not in render_tables(summary_of(plan, lambda number, run: 1.0))


def test_the_numbers_are_json(plan: Plan):
    values = json.loads(json.dumps(as_json(summary_of(plan, lambda number, run: 10.0 + run.seed))))
    row = values["tables"]["table3"]["rows"][4]
    assert row["here"]["map50"] == {"mean": 10.5, "spread": pytest.approx(0.7071, abs=1e-4), "values": [10.0, 11.0]}
    assert row["paper"] == {"map50": 41.8}
    assert values["runs"] == {"done": len(plan.runs), "total": len(plan.runs)}
