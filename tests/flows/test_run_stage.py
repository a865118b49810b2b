"""How a stage ended, what it printed last, and the sentence that tells its progress."""

import json

import pytest

from bestie.runtime.progress import parse_progress
from flows.faults import InfrastructureError, StageError, describe
from flows.progress_artifact import describe_progress
from flows.repro import StageOutcome, _outcome, explain

LINE = {"progress": "train_bestie", "done": 12, "total": 60, "rate": 10.94, "remaining_s": 75.3, "loss": 8.5}

FAILED = """Running stage 'prepare':
> python -m stages.prepare
prepare: There is no image list data/x/train.txt
ERROR: failed to reproduce 'prepare': failed to run: python -m stages.prepare, exited with {status}
""".splitlines()


def failed(status: int) -> list[str]:
    return [line.format(status=status) for line in FAILED]


def test_the_message_of_a_stage_that_failed_is_what_the_stage_said():
    error = explain("prepare", 255, failed(1))
    assert isinstance(error, StageError)
    assert str(error) == "prepare failed:\nprepare: There is no image list data/x/train.txt"


@pytest.mark.parametrize("status", [-9, 137])
def test_a_killed_stage_is_a_fault_of_the_infrastructure(status: int):
    error = explain("prepare", 255, failed(status))
    assert isinstance(error, InfrastructureError)
    assert str(error).startswith("prepare was killed by signal 9. It printed last:\n")


def test_a_killed_dvc_is_a_fault_of_the_infrastructure():
    assert isinstance(explain("prepare", -15, []), InfrastructureError)


def test_a_missing_input_is_what_dvc_says():
    lines = ["ERROR: failed to reproduce 'prepare': [Errno 2] No such file or directory: '/x'"]
    error = explain("prepare", 255, lines)
    assert isinstance(error, StageError)
    assert "No such file or directory: '/x'" in str(error)


def test_only_the_last_lines_of_a_long_output_are_in_the_message():
    assert describe([f"line {number}" for number in range(100)], limit=3).splitlines() == [
        "line 97",
        "line 98",
        "line 99",
    ]


def test_a_progress_line_becomes_a_sentence_with_rate_and_estimate():
    values = parse_progress(json.dumps(LINE))
    assert values == LINE
    assert describe_progress(values) == "train_bestie: 12 of 60, 10.9 a second, 1 min 15 s left, loss 8.5"


@pytest.mark.parametrize(
    ("lines", "outcome"),
    [
        (["Stage 'prepare' didn't change, skipping"], StageOutcome.UNCHANGED),
        (["Stage 'prepare' is cached - skipping run, checking out outputs"], StageOutcome.RESTORED),
        (["Pulling data for stage: 'prepare'", "5 files fetched"], StageOutcome.RESTORED),
        (["Pulling data for stage: 'prepare'", "Unable to pull data for stage: 'prepare'"], StageOutcome.RAN),
        (["Running stage 'prepare':", "> python -m stages.prepare"], StageOutcome.RAN),
    ],
)
def test_what_has_run_is_told_from_what_was_there(lines: list[str], outcome: StageOutcome):
    assert _outcome(lines) is outcome
