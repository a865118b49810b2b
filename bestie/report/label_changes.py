"""How the labels of a run differ from those of another version: the numbers of the page, and what it draws of them."""

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
from bestie.datasets.base import ImageRecord
from bestie.errors import InputError
from bestie.report.images import path_data
from bestie.report.sampling import BucketSample
from bestie.report.tables import TABLES, InstanceTable

Entry = dict[str, Any]

CHANGE_NAMES = {
    Change.APPEARED: "appeared",
    Change.VANISHED: "vanished",
    Change.MOVED: "moved",
    Change.CLASS_CHANGED: "class changed",
    Change.UNCHANGED: "unchanged",
}
#: So many images with the largest change are shown for certain, of each stage.
LARGEST = 12


@dataclass(frozen=True)
class ChangeRow:
    """Labels of one class: how many there were and are, and (change, its name, how many).

    `category` counts from 1 among `Gallery`'s categories; 0 for all classes.
    """

    label: str
    category: int
    before: int
    after: int
    counts: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True)
class LabelChanges:
    """The labels of one stage against those of the other version.

    Attributes:
        table: of these labels.
        versions: the other version and the run's, by their short hashes; None where one has no such labels.
        difference: None where the labels are equal, or could not be compared.
        problem: why they could not.
        artifacts: of both versions, where there is a difference.
    """

    table: InstanceTable
    versions: tuple[str, str] | None = None
    difference: Difference | None = None
    problem: str | None = None
    artifacts: tuple[Artifacts, Artifacts] | None = None

    def rows(self, categories: Sequence[str]) -> list[ChangeRow]:
        """All classes together, then each in which something changed; none without a difference."""
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
    """One image, as plain values for the page.

    Attributes:
        is_changed: whether a label is not as it was.
        share: the changed pixels, summed over its labels, for each pixel of the image.
        found: what became of each label, in the order of the table.
        vanished: the labels that the other version alone has.
    """

    is_changed: bool
    share: float
    found: list[Entry]
    vanished: list[Entry]


def compare_labels(
    history: History, other: Run, records: Sequence[ImageRecord], sample: BucketSample
) -> list[LabelChanges]:
    """Compare the labels in the workspace with those of another run, and offer images that changed to `sample`.

    What cannot be compared is a `problem`, not an error: the rest of the page does not depend on it.

    Args:
        history: of the project.
        other: the run to compare with.
        records: all images of the workspace.
        sample: what images are offered to, by stage, change and class.
    """
    rows = {record.image_id: record.row for record in records}
    current = history.current()
    stages = {*other.lock.stages, *(current.lock.stages if current else ())}
    tables = (table for table in TABLES if not table.is_scored and table.stage in stages)
    return [_compare(history, other, table, rows, sample) for table in tables]


def largest_rows(changes: Sequence[LabelChanges], records: Sequence[ImageRecord]) -> list[int]:
    """The rows of the images with the largest changes that the workspace has."""
    rows = {record.image_id: record.row for record in records}
    found = [image for each in changes if each.difference is not None for image in each.difference.largest]
    return [rows[image.image_id] for image in found if image.image_id in rows]


def class_names(changes: Sequence[LabelChanges], names: Sequence[str]) -> list[str]:
    """The names of the run's classes, then those that only the other version has."""
    others = [name for each in changes if each.difference is not None for name in each.difference.by_class]
    return list(dict.fromkeys([*names, *others]))


def read_changes(
    changes: LabelChanges, shown: Sequence[ImageRecord], categories: Sequence[str]
) -> dict[int, ImageChanges]:
    """Row -> what changed, for some images of the workspace. InputError where a table cannot be read."""
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
    """An image belongs to the bucket of each of its changes, by class."""
    if image.image_id not in rows:
        return
    for change, name in {(each.change, each.before_class or each.after_class) for each in image.instances}:
        if change is not Change.UNCHANGED:
            sample.offer((key, change.value, name), rows[image.image_id], image.image_id)


def _row(label: str, category: int, counts: dict[Change, int]) -> ChangeRow:
    named = tuple((change.value, name, counts[change]) for change, name in CHANGE_NAMES.items())
    return ChangeRow(label, category, *sizes(counts), named)


def _labels_of(artifacts: Artifacts, records: Sequence[ImageRecord]) -> dict[int, dict[int, str]]:
    """Row -> instance_id -> mask in the order of the table, of some images of a version."""
    found: dict[int, dict[int, str]] = {record.row: {} for record in records}
    path = artifacts.file(instances_of(artifacts.version.stage))
    columns: Columns = read_table(path, INSTANCES, ["row", "instance_id", "rle"], where={"row": list(found)})
    for row, instance_id, rle in zip(columns["row"], columns["instance_id"], columns["rle"], strict=True):
        found[int(row)][int(instance_id)] = str(rle)
    return found


def _outline_before(each: InstanceDiff, labels: Mapping[int, str], record: ImageRecord) -> Entry:
    """Where a label was: of one that vanished its outline, of one that is no longer as it was the earlier one."""
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
