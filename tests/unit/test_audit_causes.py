"""Two versions differ because of parameters, code or data: each is named."""

from dataclasses import replace

from bestie.audit.causes import Cause, Kind, find_causes
from bestie.audit.lock import Lock, StageRun, lineage
from bestie.audit.versions import Version

PREPARE = StageRun(
    "prepare",
    "python -m stages.prepare",
    {"dataset.name": "x", "prepare.limit": None},
    {"data/raw/x": "raw1.dir", "stages/prepare.py": "code1", "bestie/errors.py": "err1"},
    {"data/prepare/images.parquet": "images1", "data/prepare/truth.parquet": "truth1"},
)
LABELS = StageRun(
    "make_pseudo_labels",
    "python -m stages.make_pseudo_labels",
    {"dataset.name": "x", "make_pseudo_labels.min_area_px": 50},
    {"data/prepare/images.parquet": "images1", "bestie/method/transfer.py": "code2", "bestie/errors.py": "err1"},
    {"data/make_pseudo_labels/instances.parquet": "labels1"},
)


def version(prepare: StageRun = PREPARE, labels: StageRun = LABELS, **others: StageRun) -> Version:
    lock = Lock({prepare.name: prepare, labels.name: labels, **others})
    return Version("make_pseudo_labels", lock, lineage(lock, "make_pseudo_labels"))


def with_outs(run: StageRun, **changes: dict) -> StageRun:
    """The stage with changed dictionaries."""
    return replace(run, **{name: {**getattr(run, name), **values} for name, values in changes.items()})


OTHER_LABELS = {"data/make_pseudo_labels/instances.parquet": "labels2"}
OTHER_IMAGES = {"data/prepare/images.parquet": "images2"}


def causes(after: Version, before: Version | None = None) -> list[Cause]:
    return find_causes(before or version(), after)


def test_equal_versions_have_no_cause():
    assert causes(version()) == []


def test_a_parameter_is_named_with_both_values():
    labels = with_outs(LABELS, params={"make_pseudo_labels.min_area_px": 80}, outs=OTHER_LABELS)
    (cause,) = causes(version(labels=labels))
    assert (cause.kind, cause.before, cause.after, cause.effective) == (Kind.PARAMETER, 50, 80, True)
    assert str(cause) == "make_pseudo_labels.min_area_px: 50 -> 80"


def test_a_parameter_that_came_or_went_shows_none():
    labels = with_outs(LABELS, params={"make_pseudo_labels.new": False}, outs=OTHER_LABELS)
    assert str(causes(version(labels=labels))[0]) == "make_pseudo_labels.new: (none) -> False"


def test_code_is_named_by_its_file():
    labels = with_outs(LABELS, deps={"bestie/method/transfer.py": "code3"}, outs=OTHER_LABELS)
    (cause,) = causes(version(labels=labels))
    assert str(cause) == "code: bestie/method/transfer.py changed (read by make_pseudo_labels)"


def test_code_that_changed_no_output_comes_last_and_is_not_effective():
    after = version(
        with_outs(PREPARE, deps={"stages/prepare.py": "code9"}),
        with_outs(LABELS, params={"make_pseudo_labels.min_area_px": 80}, outs=OTHER_LABELS),
    )
    assert [(cause.name, cause.effective) for cause in causes(after)] == [
        ("make_pseudo_labels.min_area_px", True),
        ("stages/prepare.py", False),
    ]


def test_data_is_named_by_its_path_and_outputs_of_stages_are_no_cause():
    after = version(
        with_outs(PREPARE, deps={"data/raw/x": "raw2.dir"}, outs=OTHER_IMAGES),
        with_outs(LABELS, deps=OTHER_IMAGES, outs=OTHER_LABELS),
    )
    assert [str(cause) for cause in causes(after)] == ["data: data/raw/x changed (read by prepare)"]


def test_an_output_that_no_later_stage_read_is_no_effect():
    after = version(
        with_outs(PREPARE, deps={"data/raw/x": "raw2.dir"}, outs={"data/prepare/truth.parquet": "truth2"}),
        with_outs(LABELS, params={"make_pseudo_labels.min_area_px": 80}, outs=OTHER_LABELS),
    )
    assert [cause.name for cause in causes(after) if cause.effective] == ["make_pseudo_labels.min_area_px"]


def test_a_change_that_reached_several_stages_is_one_cause_with_those_that_it_affected():
    errors = {"bestie/errors.py": "err2"}
    idle = version(with_outs(PREPARE, deps=errors), with_outs(LABELS, deps=errors, outs=OTHER_LABELS))
    assert [(cause.stages, cause.effective) for cause in causes(idle)] == [(("make_pseudo_labels",), True)]
    both = version(
        with_outs(PREPARE, deps=errors, outs=OTHER_IMAGES),
        with_outs(LABELS, deps={**errors, **OTHER_IMAGES}, outs=OTHER_LABELS),
    )
    assert [cause.stages for cause in causes(both)] == [("prepare", "make_pseudo_labels")]


def test_a_folder_of_code_is_left_out_where_its_file_is_named():
    before = version(with_outs(PREPARE, deps={"bestie/shapes": "f1.dir", "bestie/shapes/noise.py": "n1"}))
    after = version(
        with_outs(PREPARE, deps={"bestie/shapes": "f2.dir", "bestie/shapes/noise.py": "n2"}, outs=OTHER_IMAGES),
        with_outs(LABELS, deps=OTHER_IMAGES, outs=OTHER_LABELS),
    )
    assert [cause.name for cause in causes(after, before)] == ["bestie/shapes/noise.py"]


def test_another_command_is_a_cause():
    labels = replace(with_outs(LABELS, outs=OTHER_LABELS), command="python other.py")
    assert "python -m stages.make_pseudo_labels -> python other.py" in str(causes(version(labels=labels))[0])


def test_a_stage_that_came_is_a_cause():
    extra = StageRun("smooth", "x", {}, {"data/prepare/images.parquet": "images1"}, {"data/smooth": "s1"})
    labels = with_outs(LABELS, deps={"data/smooth": "s1"}, outs=OTHER_LABELS)
    found = causes(version(labels=labels, smooth=extra))
    assert "stage smooth is new" in [str(cause) for cause in found]


def test_other_labels_from_equal_inputs_are_unexplained():
    (cause,) = causes(version(labels=with_outs(LABELS, outs=OTHER_LABELS)))
    assert cause.kind is Kind.UNEXPLAINED
    assert "same code, data and parameters" in str(cause)


def test_an_input_of_which_nothing_is_recorded_any_more_is_said():
    after = version(
        with_outs(PREPARE, outs={"data/prepare/images.parquet": "images3"}),
        with_outs(LABELS, deps=OTHER_IMAGES, outs=OTHER_LABELS),
    )
    (cause,) = causes(after)
    assert (cause.kind, cause.name) == (Kind.UNRECORDED, "prepare")


def test_labels_that_were_edited_in_the_workspace_are_said():
    after = replace(version(), edited=OTHER_LABELS)
    assert [cause.kind for cause in causes(after)] == [Kind.EDITED]
