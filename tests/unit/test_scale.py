"""The benchmark of growth: lines through sizes, bounds, its tables and picture, its options, and what it measures."""

import os
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.growth import NO_OP, READ_STEPS, Size, Verdict, excess, fit_line, table, verdict_table, verdicts
from benchmarks.growth_chart import draw_growth
from benchmarks.measured import CommandError, Usage, count_files, run_measured
from benchmarks.scale import TOTAL, read_options, read_size, write_size

STAGES = ("prepare", "evaluate")
STEPS = (*STAGES, TOTAL, NO_OP, *READ_STEPS)


def usage(seconds: float = 1.0, memory_mb: float = 100.0, files: int = 0, output_mb: float = 0.0) -> Usage:
    return Usage(seconds, seconds, memory_mb, memory_mb, files, output_mb)


def size(images: int, **steps: Usage) -> Size:
    """A size at which every step takes the same, except for those named."""
    named = {name.replace("_", " "): each for name, each in steps.items()}
    return Size(images, 433, "abc1234", "2026-11-29", "x86_64, 1 cores", dict.fromkeys(STEPS, usage()) | named)


def found(*sizes: Size) -> dict[str, Verdict]:
    """The verdicts by what they are about."""
    return {verdict.wanted.split(":")[0]: verdict for verdict in verdicts(sizes, STAGES, TOTAL)}


def test_a_line_is_found_with_its_fixed_part():
    line = fit_line([250, 1000, 4000], [3.0, 4.5, 10.5])
    assert line.slope == pytest.approx(0.002)
    assert line.fixed == pytest.approx(2.5)
    assert line.at(16_000) == pytest.approx(34.5)


def test_one_size_is_no_line():
    with pytest.raises(ValueError, match="two numbers of images"):
        fit_line([1000, 1000], [1.0, 2.0])


def test_excess_is_the_part_above_the_line_through_the_smaller_sizes():
    assert excess([250, 1000, 4000], [3.0, 4.5, 10.5]) == pytest.approx(0)
    assert excess([1, 2, 4], [1.0, 4.0, 16.0]) == pytest.approx(0.6)  # squares; the line is at 10
    assert excess([1, 2, 4], [3.0, 4.0, 5.0]) < 0


def test_with_two_sizes_the_line_begins_at_zero():
    assert excess([1000, 4000], [1.0, 4.0]) == pytest.approx(0)
    assert excess([1000, 4000], [1.0, 16.0]) == pytest.approx(3)


def test_a_time_that_happened_to_fall_first_is_no_reason_to_expect_less():
    assert excess([250, 1000, 4000], [2.1, 2.0, 2.1]) == pytest.approx(0)


def test_the_table_has_what_each_step_takes_for_an_image():
    sizes = (size(100, prepare=usage(2.0, 100, 3, 1.0)), size(200, prepare=usage(3.0, 150, 5, 2.0)))
    row = table(sizes, ["prepare"]).splitlines()[2]
    assert row == "| prepare | 10.00 | 1.0 | 10.00 | 100, 150 | +50% | 512.0 | 2.00 | 10.24 |"


def test_all_bounds_are_met_if_nothing_grows():
    assert [verdict.met for verdict in found(size(1000), size(4000)).values()] == [True] * 6


def test_a_stage_whose_memory_grows_is_named():
    verdict = found(size(1000), size(4000, evaluate=usage(memory_mb=125)))["memory of each stage"]
    assert not verdict.met
    assert verdict.measured == "evaluate +25%"


def test_a_step_whose_time_bends_upward_is_named():
    sizes = (size(1000), size(2000, report=usage(2.0)), size(4000, report=usage(16.0)))
    verdict = found(*sizes)["processor time of each step"]
    assert not verdict.met
    assert verdict.measured == "report +300%"


@pytest.mark.parametrize(("files", "met"), [(29, True), (31, False)])
def test_the_files_of_all_stages_are_judged_together(files: int, met: bool):
    verdict = found(size(1000), size(4000, **{TOTAL: usage(files=files)}))["files of all stages"]
    assert verdict.met is met  # one for 100 images: 30


def test_times_at_other_sizes_are_read_off_the_line():
    longer = {NO_OP: usage(1.3), "report": usage(12.0)}
    verdict = found(size(1000), size(4000, **longer))
    assert verdict["no-op `dvc repro`"].measured.startswith("2.50 times")
    assert not verdict["no-op `dvc repro`"].met
    assert verdict["`bestie report`"].measured == "56.0 s, by the line"
    assert verdict["`bestie report`"].met


def test_times_that_fall_by_chance_are_not_followed_below_zero():
    shorter = {NO_OP: usage(0.9), "report": usage(0.9)}
    verdict = found(size(1000), size(4000, **shorter))
    assert verdict["no-op `dvc repro`"].measured.startswith("1.00 times")
    assert verdict["`bestie report`"].measured == "1.0 s, by the line"


def test_the_bounds_are_a_table():
    assert verdict_table([Verdict("a < b", "2", met=False)]).splitlines()[2] == "| a < b | 2 | no |"


def test_the_picture_names_each_step_in_well_formed_xml():
    picture = draw_growth((size(1000), size(4000)), {"stages": STAGES, "commands": READ_STEPS})
    names = [each.text for each in ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")]
    assert names.count("prepare") == names.count("audit diff") == 2


def test_a_size_is_read_as_it_was_written(tmp_path: Path):
    written = size(1000, prepare=usage(2.0, 100, 3, 1.0))
    write_size(tmp_path / "1000.json", written)
    assert read_size(tmp_path / "1000.json") == written


def test_a_damaged_size_ends_with_a_message_that_names_the_file(tmp_path: Path):
    (tmp_path / "1000.json").write_text('{"images": 1000')
    with pytest.raises(SystemExit, match=r"1000\.json cannot be read"):
        read_size(tmp_path / "1000.json")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "39"], "--images 39: each number must be at least 40"),
        (["--side", "95"], "--side 95: it must be at least 96"),
        (["--images", "many"], "invalid int value: 'many'"),
        (["--keep", "."], "--keep .: this exists already"),
        (["--out", "file/below"], "--out file/below: Not a directory"),
    ],
)
def test_wrong_arguments_end_with_one_message(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["scale", *arguments])
    with pytest.raises(SystemExit) as ended:
        read_options()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_sizes_are_sorted_and_each_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["scale", "--images", "400", "100", "400", "--out", str(tmp_path / "out")])
    assert read_options().images == [100, 400]


def test_files_are_counted_below_folders(tmp_path: Path):
    (tmp_path / "maps" / "0").mkdir(parents=True)
    (tmp_path / "maps" / "0" / "chunk").write_bytes(b"abc")
    (tmp_path / "table").write_bytes(b"de")
    assert count_files([tmp_path / "maps", tmp_path / "table", tmp_path / "absent"]) == (2, 5)


def test_the_memory_of_child_processes_counts(tmp_path: Path):
    hold = "import time; held = b'x' * 2**26; time.sleep(0.6)"  # 64 MiB
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}], check=True); print('done')"
    used, printed = run_measured([sys.executable, "-c", start], folder=tmp_path, environment=dict(os.environ))
    assert printed == "done\n"
    assert 64 < used.memory_mb < 128
    assert used.seconds > 0.6 > used.processor_seconds


def test_a_failed_command_shows_its_last_lines(tmp_path: Path):
    with pytest.raises(CommandError, match="ended with status 1:\nwhat was wrong"):
        run_measured([sys.executable, "-c", "raise SystemExit('what was wrong')"], folder=tmp_path, environment={})
