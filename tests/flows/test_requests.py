"""What a run is asked to do, read from the command line."""

import subprocess
import sys

import pytest

from bestie.errors import InputError
from flows.graph import load_graph
from flows.pipeline import pipeline
from flows.requests import parse_spread
from flows.workers import check_spread
from tests import workspace as ws


def test_a_stage_and_its_number_of_parts():
    assert parse_spread(["extract_cues=4", "evaluate=2"]) == {"extract_cues": 4, "evaluate": 2}


@pytest.mark.parametrize("text", ["extract_cues", "extract_cues=", "=4", "extract_cues=four", "extract_cues=-1"])
def test_what_is_no_number_of_parts_is_refused(text: str):
    with pytest.raises(InputError, match=f"--spread {text}: expected a stage and a number"):
        parse_spread([text])


def test_stages_with_shards_can_be_spread_and_one_part_is_none():
    graph = load_graph(ws.ROOT)
    able = {"extract_cues", "make_wsss", "make_pseudo_labels", "export_mrcnn", "evaluate"}
    assert {name for name, stage in graph.items() if stage.shards} == able
    assert check_spread(graph, {"extract_cues": 4, "evaluate": 1}) == {"extract_cues": 4}


@pytest.mark.parametrize(
    ("spread", "message"),
    [
        ({"train_pam": 2}, "stage 'train_pam' does not write shards; those that can be computed in parts are extract_"),
        ({"cues": 2}, "there is no stage 'cues'; those that can"),
        ({"extract_cues": 0}, "extract_cues in 0 parts; take a number from 1 to"),
        ({"extract_cues": 1000}, "extract_cues in 1000 parts; take a number from 1 to"),
    ],
)
def test_what_cannot_be_spread_is_refused_by_name(spread: dict[str, int], message: str):
    with pytest.raises(InputError, match=message):
        check_spread(load_graph(ws.ROOT), spread)


def test_a_wrong_number_of_parts_on_the_command_line_is_one_message():
    command = [sys.executable, "-m", "flows.pipeline", "--on-workers", "--spread", "extract_cues"]
    ended = subprocess.run(command, cwd=ws.ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("flows.pipeline: --spread extract_cues: expected a stage and a number of parts")
    assert "Traceback" not in ended.stderr


@pytest.mark.usefixtures("server", "clone")
def test_a_run_on_one_machine_is_not_spread():
    state = pipeline(targets=["prepare"], spread={"extract_cues": 2}, return_state=True)
    assert state.is_failed()
    assert "a stage is spread over workers: say on_workers" in (state.message or "")
