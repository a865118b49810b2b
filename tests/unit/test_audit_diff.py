"""The difference of two versions: what became of each label, in sums, and the inputs that changed."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bestie.artifacts.image_index import write_images
from bestie.artifacts.instances import decode_mask, instance_rows
from bestie.artifacts.schemas import IMAGES as IMAGES_SCHEMA
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.schemas import WSSS_SUMMARY as WSSS_SCHEMA
from bestie.artifacts.tables import TableWriter, iter_rows
from bestie.audit.diff import Difference, diff_images, diff_versions
from bestie.audit.input_changes import compare_inputs
from bestie.audit.matching import Change
from bestie.audit.sources import IMAGES, WSSS_SUMMARY, Artifacts, instances_of
from bestie.audit.versions import History
from bestie.errors import InputError
from bestie.records import ImageRecord
from tests.audit_project import Project

TABLE = Path(instances_of("make_pseudo_labels"))
Rows = list[dict[str, Any]]


def rewrite(path: Path, schema: Any, edit: Callable[[Rows], Rows]) -> None:
    """Write a table anew with edited rows."""
    rows = edit(list(iter_rows(path, schema)))
    with TableWriter(path, schema) as writer:
        writer.append_rows(rows)


def diff(before: str = "HEAD~1", after: str = "HEAD", **options: Any) -> Difference:
    history = History()
    return diff_versions(*(Artifacts(history.resolve(name)) for name in (before, after)), **options)


def counted(difference: Difference) -> dict[str, int]:
    return {str(change): count for change, count in difference.total.items() if count}


def shifted(row: dict[str, Any], record: ImageRecord, by: int) -> dict[str, Any]:
    """An instance moved to the right."""
    mask = np.roll(decode_mask(row["rle"], record.height, record.width), by, axis=1)
    (moved,) = instance_rows(record, [mask], [row["category_id"]], scores=[row["score"]])
    return {**moved, "instance_id": row["instance_id"]}


def test_a_version_does_not_differ_from_itself(project: Project):
    found = diff("HEAD", "workspace")
    assert found.is_empty
    assert counted(found) == {"unchanged": len(list(iter_rows(TABLE, INSTANCES)))}
    assert (found.images, found.changed_images, found.largest, found.causes) == (24, 0, [], [])


def test_every_kind_of_change_is_counted_by_class_and_image(project: Project):
    records = {record.row: record for record in Artifacts(History().resolve("HEAD")).images}
    names = [category.name for category in Artifacts(History().resolve("HEAD")).categories]
    before = list(iter_rows(TABLE, INSTANCES))
    assert len(before) >= 4

    def edit(rows: Rows) -> Rows:
        moved = shifted(rows[0], records[rows[0]["row"]], 1)
        other = {**rows[1], "category_id": rows[1]["category_id"] % len(names) + 1}
        scored = {**rows[3], "score": rows[3]["score"] / 2}
        return [moved, other, scored, *rows[4:]]

    rewrite(TABLE, INSTANCES, edit)
    project.commit("edited", "make_pseudo_labels")
    found = diff(min_iou=0.1)
    assert counted(found) == {"unchanged": len(before) - 3, "moved": 1, "class_changed": 1, "vanished": 1}
    assert found.rescored == 1
    assert 0 < (found.moved_iou or 0) < 1
    assert found.by_class[names[before[2]["category_id"] - 1]][Change.VANISHED] == 1
    old, new = (names[number - 1] for number in (before[1]["category_id"], before[1]["category_id"] % len(names) + 1))
    assert found.class_changes == {(old, new): 1}
    assert found.changed_images == len({before[k]["image_id"] for k in range(3)})
    assert [str(cause) for cause in found.causes if "same code, data and parameters" in str(cause)]
    back = diff("HEAD", "HEAD~1", min_iou=0.1)
    assert back.total[Change.APPEARED] == found.total[Change.VANISHED] == 1


def test_the_images_with_the_largest_change_come_first(project: Project):
    before = list(iter_rows(TABLE, INSTANCES))
    rewrite(TABLE, INSTANCES, lambda rows: [row for row in rows if row["image_id"] == before[0]["image_id"]])
    project.commit("one image", "make_pseudo_labels")
    found = diff(largest=3)
    lost: dict[str, float] = {}
    sizes = {record.image_id: record.height * record.width for record in Artifacts(found.after).images}
    for row in before:
        if row["image_id"] != before[0]["image_id"]:
            lost[row["image_id"]] = lost.get(row["image_id"], 0) + row["area_px"] / sizes[row["image_id"]]
    assert [image.changed for image in found.largest] == pytest.approx(sorted(lost.values(), reverse=True)[:3])
    assert found.changed_images == len(lost)


def reindex(edit: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    """Write the index anew; rows count from 0 again."""
    rows = edit(list(iter_rows(Path(IMAGES), IMAGES_SCHEMA)))
    write_images(
        Path(IMAGES), [ImageRecord(**{**row, "row": k, "labels": tuple(row["labels"])}) for k, row in enumerate(rows)]
    )


def test_images_are_compared_by_their_id_when_rows_have_moved(project: Project):
    first = next(iter_rows(Path(IMAGES), IMAGES_SCHEMA))["image_id"]
    reindex(lambda rows: rows[1:])
    moved = lambda rows: [{**row, "row": row["row"] - 1} for row in rows if row["image_id"] != first]  # noqa: E731
    gone = sum(row["image_id"] == first for row in iter_rows(TABLE, INSTANCES))
    rewrite(TABLE, INSTANCES, moved)
    rewrite(Path(WSSS_SUMMARY), WSSS_SCHEMA, moved)
    project.commit("one image less", "prepare", "train_pam", "extract_cues", "import_wsss", "make_pseudo_labels")
    found = diff()
    assert counted(found).get("vanished", 0) == gone
    assert set(counted(found)) <= {"unchanged", "vanished"}
    assert found.inputs is not None
    assert found.inputs.removed == [first]
    assert found.inputs.sentences() == [f"1 image removed: {first}"]
    assert found.inputs.of_image(first) == ["image removed"]


def test_images_in_another_order_are_compared_all_the_same(project: Project):
    count = len(list(iter_rows(TABLE, INSTANCES)))

    def reverse(rows: Rows) -> Rows:
        train = [row for row in rows if row["split"] == "train"]
        return train[::-1] + rows[len(train) :]

    reindex(reverse)
    rewrite(
        TABLE, INSTANCES, lambda rows: sorted(({**row, "row": 23 - row["row"]} for row in rows), key=lambda r: r["row"])
    )
    project.commit("reversed", "prepare", "train_pam", "extract_cues", "import_wsss", "make_pseudo_labels")
    assert counted(diff()) == {"unchanged": count}


def test_changed_labels_pixels_and_wsss_maps_are_named_by_image(project: Project):
    names = [category.name for category in Artifacts(History().resolve("HEAD")).categories]
    records = list(iter_rows(Path(IMAGES), IMAGES_SCHEMA))
    old = records[0]["labels"]
    new = sorted({*old, 1, 2} - ({1} if 1 in old and 2 in old else set()))
    assert new != old

    def relabel(rows: Rows) -> Rows:
        return [{**rows[0], "labels": new}, {**rows[1], "sha256": "0" * 64}, *rows[2:]]

    reindex(relabel)
    rewrite(Path(WSSS_SUMMARY), WSSS_SCHEMA, lambda rows: [*rows[:2], {**rows[2], "sha256": "1" * 64}, *rows[3:]])
    project.commit("inputs", "prepare", "train_pam", "extract_cues", "import_wsss", "make_pseudo_labels")
    inputs = compare_inputs(*(Artifacts(History().resolve(name)) for name in ("HEAD~1", "HEAD")))
    listed = [tuple(names[label - 1] for label in labels) for labels in (old, new)]
    assert inputs.relabeled == {records[0]["image_id"]: (listed[0], listed[1])}
    assert inputs.other_pixels == [records[1]["image_id"]]
    assert inputs.other_wsss == [records[2]["image_id"]]
    assert inputs.of_image(records[0]["image_id"]) == [f"labels {', '.join(listed[0])} -> {', '.join(listed[1])}"]
    assert [inputs.of_image(records[k]["image_id"]) for k in (1, 2, 3)] == [["other pixels"], ["another WSSS map"], []]
    assert len(inputs.sentences()) == 3


def test_versions_of_different_stages_are_not_compared(project: Project):
    history = History()
    sides = [Artifacts(history.resolve("HEAD", stage)) for stage in ("make_pseudo_labels", "export_mrcnn")]
    with pytest.raises(InputError, match="Compare two versions of one stage"):
        diff_versions(*sides)


def test_a_version_of_an_older_schema_says_what_to_do(project: Project):
    older = INSTANCES.remove(INSTANCES.get_field_index("rle"))
    rows = [{name: row[name] for name in older.names} for row in iter_rows(TABLE, INSTANCES)]
    with TableWriter(TABLE, older) as writer:
        writer.append_rows(rows)
    sha = project.commit("older", "make_pseudo_labels")[:7]
    with pytest.raises(InputError) as raised:
        diff()
    assert str(raised.value) == (
        f"{TABLE} of {sha} has no column rle. It was written by other code than this: look at it with the code of "
        f"that time, in a clone at {sha}."
    )


def test_an_unknown_class_is_one_message(project: Project):
    rewrite(TABLE, INSTANCES, lambda rows: [{**rows[0], "category_id": 77}, *rows[1:]])
    project.commit("wrong", "make_pseudo_labels")
    with pytest.raises(InputError, match=r"has labels of the unknown category_id 77\. `bestie audit verify`"):
        diff()


@pytest.mark.slow  # every allocation is traced
def test_labels_of_all_images_are_never_held_at_once(project: Project, monkeypatch: pytest.MonkeyPatch):
    for name in ("ROW_GROUP_ROWS", "STREAM_ROWS"):
        monkeypatch.setattr(f"bestie.artifacts.tables.{name}", 20)
    records = list(Artifacts(History().resolve("HEAD")).training_images)
    rng = np.random.default_rng(0)
    for noise in (0.4, 0.6):
        with TableWriter(TABLE, INSTANCES) as writer:
            for record in records:
                masks = (rng.random((record.height, record.width)) < noise for _ in range(60))
                writer.append_rows(instance_rows(record, masks, [record.labels[0]] * 60))
        project.commit("noise", "make_pseudo_labels")
    sides = [Artifacts(History().resolve(name)) for name in ("HEAD~1", "HEAD")]
    assert all(side.images and side.categories for side in sides)
    total = sum(len(row["rle"]) for row in iter_rows(TABLE, INSTANCES))
    assert sum(1 for _ in diff_images(*sides)) == len(records)  # loads modules, which are no memory of labels
    tracemalloc.start()
    try:
        assert sum(1 for _ in diff_images(*sides)) == len(records)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < total / 2
