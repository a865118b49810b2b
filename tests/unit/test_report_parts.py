"""Parts of the report: the pipeline, the run before, scores and their change, the sample."""

import json
import shutil
from pathlib import Path

import pytest

from bestie.audit.versions import History
from bestie.errors import InputError
from bestie.report.comparison import OtherRun, find_setting
from bestie.report.page import format_bytes, format_seconds
from bestie.report.pipeline_state import read_pipeline
from bestie.report.sampling import BucketSample
from bestie.report.score_tables import Score, score_table, score_tiles
from bestie.report.spread import spread_of
from bestie.runtime.durations import record_duration
from tests.report_run import commit, write_label_lock, write_lock, write_run
from tests.stored_run import git


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run, in a git repository."""
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path, train=1, validation=1)
    git(tmp_path, "init", "--quiet")
    return tmp_path


def other_run(folder: Path, against: str | None = None) -> OtherRun:
    found = find_setting(folder, against).other
    assert found is not None
    return found


def test_edges_are_those_of_the_method_without_what_others_imply(run: Path):
    pipeline = read_pipeline(run, run / ".bestie")
    assert pipeline is not None
    assert set(pipeline.edges) == {
        ("prepare", "train_pam"),
        ("prepare", "import_wsss"),
        ("train_pam", "extract_cues"),
        ("extract_cues", "train_wsss"),
        ("train_wsss", "make_wsss"),
        ("extract_cues", "make_pseudo_labels"),
        ("import_wsss", "make_pseudo_labels"),
        ("make_pseudo_labels", "train_bestie"),
        ("train_bestie", "export_mrcnn"),
        ("export_mrcnn", "train_mrcnn"),
        ("train_mrcnn", "evaluate"),
    }


def test_a_stage_has_a_hash_of_its_outputs_and_its_duration(run: Path):
    write_lock(run)
    record_duration(run / ".bestie", "train_bestie", 75)
    pipeline = read_pipeline(run, run / ".bestie")
    assert pipeline is not None
    stages = {stage.name: stage for stage in pipeline.stages}
    assert stages["train_bestie"].duration is not None
    assert stages["train_bestie"].duration.seconds == 75
    assert stages["train_bestie"].outputs[0].size == 123456
    assert stages["evaluate"].digest is None
    first = stages["train_bestie"].digest
    write_lock(run, seed=1)
    again = read_pipeline(run, run / ".bestie")
    assert again is not None
    assert again.stages[0].digest == stages["prepare"].digest
    assert {stage.name: stage.digest for stage in again.stages}["train_bestie"] != first


def test_what_changed_is_named_parameters_first(run: Path):
    write_lock(run, seed=1, epochs=4)
    commit(run, "dvc.lock")
    write_lock(run, seed=2, epochs=6)
    pipeline = read_pipeline(run, run / ".bestie", other_run(run).run.lock)
    assert pipeline is not None
    changed = {stage.name: stage.changed for stage in pipeline.stages}
    assert changed["train_bestie"] == ("train_bestie.epochs: 4 → 6", "bestie/method/network.py")
    assert changed["prepare"] == ()


def test_without_dvc_there_is_no_pipeline(run: Path):
    (run / "dvc.yaml").unlink()
    assert read_pipeline(run, run / ".bestie") is None


def test_the_run_before_is_the_last_commit_with_other_outputs(run: Path):
    write_lock(run, seed=1)
    oldest = commit(run, "dvc.lock")
    write_lock(run, seed=2)
    other = commit(run, "dvc.lock")
    write_lock(run, seed=3)
    newest = commit(run, "dvc.lock")
    setting = find_setting(run)
    assert (setting.revision, setting.is_committed) == (newest, True)
    assert other_run(run).revision == other
    assert not other_run(run).is_chosen
    write_lock(run, seed=2)
    assert other_run(run).revision == newest
    assert not find_setting(run).is_committed
    assert oldest != other


def test_its_metrics_come_from_the_cache(run: Path):
    digest = "0123456789abcdef" * 2
    write_lock(run)
    text = (run / "dvc.lock").read_text(encoding="utf-8")
    entry = f"    - path: data/evaluate/metrics.json\n      md5: {digest}\n"
    (run / "dvc.lock").write_text(text + f"  evaluate:\n    cmd: x\n    outs:\n{entry}", encoding="utf-8")
    commit(run, "dvc.lock")
    write_lock(run, seed=9)
    cached = run / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    cached.parent.mkdir(parents=True)
    cached.write_text(json.dumps({"bestie": {"map50": 12.0}}))
    assert other_run(run).metrics == {"data/evaluate/metrics.json": {"bestie": {"map50": 12.0}}}
    assert other_run(run).problem is None
    cached.write_text("{")
    assert "is no valid JSON" in str(other_run(run).problem)


def test_metrics_that_are_nowhere_are_a_problem_and_no_error(run: Path):
    (run / ".dvc").mkdir()
    (run / ".dvc/config").write_text("[core]\n    analytics = false\n")
    write_label_lock(run, min_area_px=60)
    revision = commit(run, "dvc.lock")
    (run / "data/evaluate/metrics.json").write_text("{}")
    write_label_lock(run, min_area_px=60)
    shutil.rmtree(run / ".dvc/cache")
    found = other_run(run)
    assert found.metrics == {}
    assert f"data/evaluate/metrics.json of {revision} (md5 " in str(found.problem)
    assert "is not in the cache. Run `dvc push` where it was made." in str(found.problem)


def test_without_git_or_lock_there_is_no_run_before(run: Path, tmp_path_factory: pytest.TempPathFactory):
    assert find_setting(run).other is None
    alone = tmp_path_factory.mktemp("alone")
    write_lock(alone)
    assert find_setting(alone).other is None
    assert find_setting(alone).revision is None


def test_a_version_is_chosen_by_every_name_that_the_audit_knows(run: Path):
    write_label_lock(run, min_area_px=60)
    first = commit(run, "dvc.lock")
    git(run, "tag", "v1")
    write_label_lock(run, min_area_px=80)
    commit(run, "dvc.lock")
    version = History(run).resolve("v1").hash
    for name in ("v1", first, "HEAD~1", version):
        found = other_run(run, name)
        assert found.is_chosen
        assert found.run.lock.stages["make_pseudo_labels"].params == {"make_pseudo_labels.min_area_px": 60}
    for name, message in (("nowhere", "'nowhere' is no branch"), ("workspace", "The report shows the workspace")):
        with pytest.raises(InputError, match=message):
            find_setting(run, name)


def test_scores_have_their_change_and_undefined_ones_a_dash():
    metrics = {"bestie": {"map50": 41.26, "coco_ap": None}, "semantic_miou": 0.7}
    table = score_table(metrics, {"bestie": {"map50": 42.0, "coco_ap": 3.0}}, {})
    assert table is not None
    assert table.columns == ("mAP50", "COCO AP")
    ((key, name, (first, second)),) = table.rows
    assert (key, name, first.text, second.text, second.change) == ("bestie", "BESTIE", "41.3", "\u2013", None)
    assert (first.change_text, first.trend) == ("\u22120.7", "down")


@pytest.mark.parametrize(("change", "text", "trend"), [(0.04, "±0", "same"), (0.05, "+0.1", "up"), (None, "", "")])
def test_a_change_below_the_last_digit_is_none(change: float | None, text: str, trend: str):
    assert (Score(1.0, change).change_text, Score(1.0, change).trend) == (text, trend)


def test_tiles_are_those_that_the_run_has():
    labels = {"true_positives": 1200, "true_instances": 4000, "precision": None, "recall": 0.3}
    tiles = score_tiles({"pseudo_labels": labels}, {"val_map": 0.9}, {}, {"val_map": 0.8}, {})
    assert [tile.label for tile in tiles] == ["Pseudo labels", "Classifier"]
    assert tiles[0].remark == "1,200 of 4,000, precision \u2013"
    assert tiles[1].score.change_text == "+10.0"
    assert score_tiles({}, {}, {}, {}, {}) == []
    assert score_table({"semantic_miou": 0.5}, {}, {}) is None


def test_a_sample_has_some_of_every_bucket_and_is_the_same_each_time():
    def chosen(budget: int) -> list[int]:
        sample = BucketSample(3)
        for row in range(1000):
            sample.offer("all", row, f"image {row}", limit=budget)
            if row % 100 == 0:
                sample.offer("rare", row, f"image {row}")
        return sample.choose(budget)

    assert len(chosen(20)) == 20
    assert chosen(20) == sorted(chosen(20)) == chosen(20)
    assert sum(row % 100 == 0 for row in chosen(20)) >= 3
    assert chosen(5000) == list(range(1000))


def test_a_bucket_holds_no_more_than_its_limit():
    sample = BucketSample(3)
    for row in range(100_000):
        sample.offer("one", row, str(row))
    assert len(sample.choose(1000)) == 3


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.44, "0.4 s"), (12.4, "12 s"), (59.8, "60 s"), (192, "3 min 12 s"), (7500, "2 h 5 min")]
)
def test_durations_are_written_in_two_units(seconds: float, text: str):
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, ""),
        (0, "0 B"),
        (999, "999 B"),
        (1240, "1.24 kB"),
        (999_600, "1 MB"),
        (3_200_000_000_000_000, "3.2e+03 TB"),
    ],
)
def test_sizes_are_written_with_three_digits(count: int | None, text: str):
    assert format_bytes(count) == text


@pytest.mark.parametrize(("change", "trend"), [(6.5, "same"), (-6.5, "same"), (6.6, "up"), (-6.6, "down")])
def test_a_change_within_what_runs_of_one_configuration_differ_by_is_none(change: float, trend: str):
    usual = spread_of("demo").points
    tile = score_tiles({"bestie": {"map50": 60 + change}}, {}, {"bestie": {"map50": 60.0}}, {}, usual)[0]
    assert (tile.score.trend, tile.score.usual_text) == (trend, "runs of one configuration differ by up to 6.5")


def test_a_data_set_without_repeated_runs_says_so():
    assert spread_of("my photos").points == {}
    assert "was not measured" in spread_of("my photos").note
    assert "between 8 runs of one configuration" in spread_of("demo").note
