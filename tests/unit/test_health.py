"""Warnings about a run: what they say, when there are none, and that they are read back as they were written."""

from collections import Counter
from pathlib import Path

import pytest

from bestie.errors import InputError
from bestie.runtime.health import (
    HealthWarning,
    collapsed_centers,
    missing_cues,
    missing_exports,
    missing_labels,
    read_warnings,
    skipped_samples,
    unfound_classes,
    write_warnings,
)

IMAGES = {"cat": 12, "dog": 3, "cow": 0}


def epochs(*maxima: float) -> list[dict[str, float]]:
    return [{"epoch": k, "center_max_p90": m, "refined_per_image": 0.25} for k, m in enumerate(maxima, start=1)]


def test_a_healthy_run_has_no_warning():
    assert missing_cues({"cat": 2}, {"cat": 1}, given=False) == []
    assert missing_labels({"cat": 1}, {"cat": Counter(accepted=1, no_cue=50)}, {"cat": 2}) == []
    assert collapsed_centers(epochs(0.01, 0.4), 0.1) == []
    assert skipped_samples(0, 10) == []


def test_a_class_without_a_cue_is_named_with_its_images_and_the_threshold():
    unseen, without = missing_cues(IMAGES, {"cat": 40}, given=False)
    assert unseen.what == "no training image shows cow"
    assert without.what == "no cue for dog (in 3 training images)"
    assert "extract_cues.threshold" in without.look_at


def test_no_cue_at_all_points_at_the_training_of_the_classifier():
    (warning,) = missing_cues({"cat": 12, "dog": 3}, {}, given=False)
    assert "cat (in 12 training images), dog (in 3 training images)" in warning.what
    assert "the classifier has not learned" in warning.cause
    assert "train_pam.epochs" in warning.look_at


def test_a_class_without_points_points_at_the_points():
    (warning,) = missing_cues({"cat": 1, "dog": 3}, {"cat": 2}, given=True)
    assert "no point of the class" in warning.cause
    assert warning.look_at == ("data/prepare/points.parquet",)


@pytest.mark.parametrize(
    ("verdicts", "parameter"),
    [
        (Counter(), "import_wsss.source"),
        (Counter(no_cue=5, too_small=1), "extract_cues.threshold"),
        (Counter(several_cues=5, no_cue=1), "extract_cues.window_px"),
        (Counter(too_small=5, no_cue=1), "make_pseudo_labels.min_area_px"),
    ],
)
def test_a_class_without_a_pseudo_label_points_at_what_refused_its_components(verdicts: Counter, parameter: str):
    (warning,) = missing_labels({"cat": 7}, {"cat": Counter(accepted=7), "dog": verdicts}, IMAGES)
    assert warning.what.startswith("no pseudo label for dog (")
    assert warning.look_at[0] == parameter


def test_empty_pseudo_labels_are_called_empty():
    (warning,) = missing_labels({}, {"cat": Counter(no_cue=2), "dog": Counter(no_cue=4)}, IMAGES)
    assert warning.what == "the pseudo labels are empty for cat (2 no_cue), dog (4 no_cue)"


def test_a_center_map_that_ends_below_the_threshold_has_collapsed():
    (warning,) = collapsed_centers(epochs(0.5, 0.3, 0.0123), 0.1)
    assert "90 % of its maxima are below 0.0123 at the end, and centers count from 0.1" in warning.what
    assert "train_bestie.lambda_center" in warning.look_at
    assert collapsed_centers([], 0.1) == []


def test_a_long_list_of_classes_is_cut():
    (warning,) = missing_cues({f"class{k}": 1 for k in range(300)}, {"class0": 1}, given=False)
    assert warning.what.endswith("class20 (in 1 training images) and 279 more")


def test_warnings_are_said_kept_and_read_in_the_order_of_the_stages(tmp_path: Path, capsys: pytest.CaptureFixture):
    first, second = HealthWarning("a", "b", ("c", "d")), HealthWarning("e", "f", ("g",))
    write_warnings(tmp_path / "train_bestie", [second])
    write_warnings(tmp_path / "extract_cues", [first])
    write_warnings(tmp_path / "make_pseudo_labels", [])
    assert "extract_cues: warning: a. Likely cause: b. Look at: c, d\n" in capsys.readouterr().err
    assert read_warnings(tmp_path) == [("extract_cues", first), ("train_bestie", second)]
    assert (tmp_path / "make_pseudo_labels" / "warnings.json").read_text() == "[]\n"


@pytest.mark.parametrize("text", ["{", "[1]", "[{}]", "3", '[{"what": "a", "cause": "b", "look_at": 1}]'])
def test_a_damaged_file_of_warnings_is_named(tmp_path: Path, text: str):
    (tmp_path / "prepare").mkdir()
    (tmp_path / "prepare" / "warnings.json").write_text(text)
    with pytest.raises(InputError, match=r"prepare/warnings\.json"):
        read_warnings(tmp_path)


def test_a_class_without_exported_labels_is_named_with_its_images():
    (warning,) = missing_exports({"cat": 5}, IMAGES)
    assert warning.what == "no exported label for dog (in 3 training images)"
    assert "export_mrcnn.min_score" in warning.look_at
    assert missing_exports({"cat": 5, "dog": 1}, IMAGES) == []


def test_a_class_that_a_model_never_finds_where_it_is_labeled_is_named():
    found = {"the network": {"cat": 4, "dog": 1}, "Mask R-CNN": {"cat": 9}}
    (warning,) = unfound_classes(found, IMAGES)
    assert warning.what == "Mask R-CNN finds in none of the validation images that are labeled with it: dog (3)"
    assert unfound_classes(found, {"cat": 2, "dog": 0}) == []
