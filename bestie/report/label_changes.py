"""Differences between the labels of a run and those of another version: counts, and the outlines to draw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bestie.artifacts.instances import decode_mask
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import Columns, read_table
from bestie.audit.diff import Difference, ImageDiff, InstanceDiff, diff_images, diff_versions
from bestie.audit.matching import Change, sizes
from bestie.audit.sources import Artifacts, instances_of
from bestie.audit.versions import History, Run
from bestie.errors import InputError
from bestie.records import ImageRecord
from bestie.report.images import path_data
from bestie.report.instance_tables import TABLES, InstanceTable
from bestie.report.sampling import BucketSample

Entry = dict[str, Any]

CHANGE_NAMES = {
    Change.APPEARED: "appeared",
    Change.VANISHED: "vanished",
    Change.MOVED: "moved",
    Change.CLASS_CHANGED: "class changed",
    Change.UNCHANGED: "unchanged",
}
#: The number of images with the largest changes that are chosen first, for each stage.
LARGEST = 12


@dataclass(frozen=True)
class ChangeRow:
    """The labels of one class: their number before and after, and (change, its name, number of labels).

    `category` is the number of the class among the categories of `Gallery`, from 1; 0 is all classes together.
    """

    label: str
    category: int
    before: int
    after: int
    counts: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True)
class LabelChanges:
    """The labels of one stage, compared with those of the other version.

    Attributes:
        table: the instance table with the labels.
        versions: the short hashes of the other version's labels and of the run's; None if one of them has no labels.
        difference: None if the labels are equal or could not be compared.
        problem: why they could not be compared.
        artifacts: the artifacts of both versions, if there is a difference.
    """

    table: InstanceTable
    versions: tuple[str, str] | None = None
    difference: Difference | None = None
    problem: str | None = None
    artifacts: tuple[Artifacts, Artifacts] | None = None

    def rows(self, categories: Sequence[str]) -> list[ChangeRow]:
        """Return a row for all classes, then one for each class with a change; none without a difference."""
        if self.difference is None:
            return []
        changed = {
            name: counts
            for name, counts in self.difference.by_class.items()
            if any(count for change, count in counts.items() if change is not Change.UNCHANGED)
        }
        return [
            _row("all", 0, self.difference.total),
            *(_row(name, categories.index(name) + 1, counts) for name, counts in changed.items()),
        ]


@dataclass(frozen=True)
class ImageChanges:
    """The changes of one image, as JSON values for the page.

    Attributes:
        is_changed: whether any label changed.
        share: the number of changed pixels, summed over the labels, divided by the number of pixels of the image.
        found: the change of each label of the run, in the order of the table.
        vanished: the labels that only the other version has.
    """

    is_changed: bool
    share: float
    found: list[Entry]
    vanished: list[Entry]


def compare_labels(
    history: History, other: Run, records: Sequence[ImageRecord], sample: BucketSample
) -> list[LabelChanges]:
    """Compare the labels in the workspace with those of another run, and offer the images that changed to `sample`.

    Labels that cannot be compared have a `problem` and raise no error: the rest of the page does not depend on them.

    Args:
        history: the project's history.
        other: the run to compare with.
        records: all images of the workspace.
        sample: the sample of images; its buckets are (stage's table, change, class).
    """
    rows = {record.image_id: record.row for record in records}
    current = history.current()
    stages = {*other.lock.stages, *(current.lock.stages if current else ())}
    tables = (table for table in TABLES if not table.is_scored and table.stage in stages)
    return [_compare(history, other, table, rows, sample) for table in tables]


def largest_rows(changes: Sequence[LabelChanges], records: Sequence[ImageRecord]) -> list[int]:
    """Return the rows of the images with the largest changes, as far as the workspace has these images."""
    rows = {record.image_id: record.row for record in records}
    found = [image for each in changes if each.difference is not None for image in each.difference.largest]
    return [rows[image.image_id] for image in found if image.image_id in rows]


def changed_class_names(changes: Sequence[LabelChanges], names: Sequence[str]) -> list[str]:
    """Return the names of the run's classes, followed by those that only the other version has."""
    others = [name for each in changes if each.difference is not None for name in each.difference.by_class]
    return list(dict.fromkeys([*names, *others]))


def read_changes(
    changes: LabelChanges, shown: Sequence[ImageRecord], categories: Sequence[str]
) -> dict[int, ImageChanges]:
    """Return the changes of some images of the workspace by row.

    Raises:
        InputError: a table cannot be read.
    """
    if changes.artifacts is None:
        return {}
    before, after = changes.artifacts
    new = {record.image_id: record for record in shown}
    old = {record.image_id: record for record in before.training_images if record.image_id in new}
    new_labels, old_labels = _labels_of(after, list(new.values())), _labels_of(before, list(old.values()))
    found = {}
    for image in diff_images(before, after, only=new):
        row, record = new[image.image_id].row, old.get(image.image_id)
        entries = {each: _entry(each, categories) for each in image.instances}
        if record is not None:
            for each in image.instances:
                entries[each] |= _outline_before(each, old_labels[record.row], record)
        by_id = {each.after_id: entry for each, entry in entries.items()}
        found[row] = ImageChanges(
            is_changed=image.is_changed,
            share=round(image.changed, 4),
            found=[by_id[instance_id] for instance_id in new_labels[row]],
            vanished=[entry for each, entry in entries.items() if each.change is Change.VANISHED],
        )
    return found


def _compare(
    history: History, other: Run, table: InstanceTable, rows: Mapping[str, int], sample: BucketSample
) -> LabelChanges:
    result = LabelChanges(table)
    try:
        before = history.of_run(other, table.stage)
        if before is None:
            return replace(result, problem=f"{other.revision} has no run of {table.stage}.")
        after = history.workspace(table.stage)
        result = replace(result, versions=(before.hash, after.hash))
        if before.hash == after.hash:
            return result
        artifacts = Artifacts(before, history.root), Artifacts(after, history.root)
        difference = diff_versions(
            *artifacts, largest=LARGEST, visit=lambda image: _offer(sample, table.key, image, rows)
        )
    except InputError as error:
        return replace(result, problem=str(error))
    return replace(result, difference=difference, artifacts=artifacts)


def _offer(sample: BucketSample, key: str, image: ImageDiff, rows: Mapping[str, int]) -> None:
    """Offer an image to one bucket for each class and change on it."""
    if image.image_id not in rows:
        return
    for change, name in {(each.change, each.before_class or each.after_class) for each in image.instances}:
        if change is not Change.UNCHANGED:
            sample.offer((key, change.value, name), rows[image.image_id], image.image_id)


def _row(label: str, category: int, counts: dict[Change, int]) -> ChangeRow:
    named = tuple((change.value, name, counts[change]) for change, name in CHANGE_NAMES.items())
    return ChangeRow(label, category, *sizes(counts), named)


def _labels_of(artifacts: Artifacts, records: Sequence[ImageRecord]) -> dict[int, dict[int, str]]:
    """Return row -> instance_id -> mask (RLE), in the order of the table, for some images of a version."""
    found: dict[int, dict[int, str]] = {record.row: {} for record in records}
    path = artifacts.file(instances_of(artifacts.version.stage))
    columns: Columns = read_table(path, INSTANCES, ["row", "instance_id", "rle"], where={"row": list(found)})
    for row, instance_id, rle in zip(columns["row"], columns["instance_id"], columns["rle"], strict=True):
        found[int(row)][int(instance_id)] = str(rle)
    return found


def _outline_before(each: InstanceDiff, labels: Mapping[int, str], record: ImageRecord) -> Entry:
    """Return the outline that a label had in the other version, if it vanished (`path`) or changed (`earlier`)."""
    if each.before_id is None or each.change is Change.UNCHANGED:
        return {}
    outline = path_data(decode_mask(labels[each.before_id], record.height, record.width))
    return {"path" if each.after_id is None else "earlier": outline}


def _entry(each: InstanceDiff, categories: Sequence[str]) -> Entry:
    entry: Entry = {"change": each.change.value}
    match each.change:
        case Change.MOVED:
            entry["overlap"] = round(each.iou, 2)
        case Change.CLASS_CHANGED:
            entry |= {"overlap": round(each.iou, 2), "was": categories.index(str(each.before_class)) + 1}
        case Change.VANISHED:
            entry |= {
                "category": categories.index(str(each.before_class)) + 1,
                "score": round(float(each.before_score or 0), 3),
            }
    return entry
