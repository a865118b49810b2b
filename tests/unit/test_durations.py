"""The durations of stages are kept beside the checkpoints."""

from pathlib import Path

import pytest

from bestie.runtime.durations import read_durations, record_duration
from tests import workspace as ws


def test_the_last_duration_of_a_stage_is_kept(tmp_path: Path):
    record_duration(tmp_path, "prepare", 12.345)
    record_duration(tmp_path, "prepare", 3.0)
    found = read_durations(tmp_path, ["prepare", "evaluate"])
    assert found["prepare"].seconds == 3.0
    assert found["prepare"].ended > 1.7e9
    assert "evaluate" not in found


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"seconds": 1, "ended": 2, "more": 3}'])
def test_a_damaged_record_is_as_none(tmp_path: Path, content: str):
    (tmp_path / "durations").mkdir()
    (tmp_path / "durations" / "prepare.json").write_text(content)
    assert read_durations(tmp_path, ["prepare"]) == {}


def test_a_stage_that_ran_as_a_program_has_one_and_one_that_failed_has_none(workspace: Path):
    ws.run_program("import_wsss")
    ws.set_params("import_wsss.source=nowhere")
    with pytest.raises(SystemExit):
        ws.run_program("import_wsss")
    durations = read_durations(Path(".bestie"), ws.STAGES)
    assert list(durations) == ["import_wsss"]
    assert 0 < durations["import_wsss"].seconds < 60
