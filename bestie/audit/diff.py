"""How and why the labels of two versions differ: instance by instance, with totals by class and by image."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nlargest

import numpy as np

from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import Columns, iter_images
from bestie.audit.causes import Cause, find_causes
from bestie.audit.input_changes import InputChanges, compare_inputs
from bestie.audit.matching import Change, Masks, Pair, match_instances
from bestie.audit.pairing import ImageStream, Pairing
from bestie.audit.sources import Artifacts, instances_of
from bestie.audit.versions import Version
from bestie.errors import InputError
from bestie.records import Category, ImageRecord

COLUMNS = ("instance_id", "category_id", "score", "rle")


@dataclass(frozen=True)
class InstanceDiff:
    """What became of one instance; its id, class and score are None in a version that lacks it.

    `iou` is that of its two masks, 0 to 1; for `changed_px` see `bestie.audit.matching.Pair`.
    """

    change: Change
    iou: float
    changed_px: int
    before_id: int | None
    after_id: int | None
    before_class: str | None
    after_class: str | None
    before_score: float | None
    after_score: float | None


@dataclass(frozen=True)
class ImageDiff:
    """One image: `changed` is the number of changed pixels, summed over instances, divided by that of all pixels."""

    image_id: str
    instances: list[InstanceDiff]
    changed: float

    @property
    def counts(self) -> dict[Change, int]:
        """Number of instances by what became of them."""
        counted = Counter(each.change for each in self.instances)
        return {change: counted[change] for change in Change}

    @property
    def is_changed(self) -> bool:
        """Whether any instance changed."""
        return any(each.change is not Change.UNCHANGED for each in self.instances)


@dataclass
class Difference:
    """The comparison of two versions of labels.

    Attributes:
        before: the first version.
        after: the second version.
        causes: parameters, code and data that changed between them.
        inputs: images, image-level labels and WSSS maps that changed; None if this is not known.
        by_class: number of instances by class name (before, if there was one) and by what became of them.
        class_changes: number of instances by (class before, class after).
        images: number of training images in either version.
        changed_images: number of images in which any instance changed.
        rescored: number of unchanged masks that have another score.
        moved_iou: mean IoU, 0 to 1, of the moved instances before and after; None without any.
        largest: the images with the largest fraction of changed pixels, the largest first.
    """

    before: Version
    after: Version
    causes: list[Cause]
    inputs: InputChanges | None
    by_class: dict[str, dict[Change, int]]
    class_changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    images: int = 0
    changed_images: int = 0
    rescored: int = 0
    moved_iou: float | None = None
    largest: list[ImageDiff] = field(default_factory=list)

    @property
    def total(self) -> dict[Change, int]:
        """Number of instances of all classes by what became of them."""
        return {change: sum(counts[change] for counts in self.by_class.values()) for change in Change}

    @property
    def reasons(self) -> list[str]:
        """Why the versions differ, in words: the effective changes, then the inputs that changed."""
        inputs = self.inputs.sentences() if self.inputs else []
        return [str(cause) for cause in self.causes if cause.effective] + inputs

    @property
    def without_effect(self) -> list[str]:
        """The changes that left all outputs the same, in words."""
        return [str(cause) for cause in self.causes if not cause.effective]

    @property
    def other_outputs(self) -> list[str]:
        """The paths of the stage's outputs that differ between the versions."""
        old, new = self.before.outs, self.after.outs
        return sorted(path for path in {*old, *new} if old.get(path) != new.get(path))

    @property
    def is_empty(self) -> bool:
        """Whether both versions hold the same labels, including their maps."""
        return self.before.hash == self.after.hash and not self.changed_images

    def sentences(self) -> list[str]:
        """Return the totals that the counts by class do not show, in words."""
        found = [f"{self.changed_images} of {self.images} images have changed labels."]
        if self.moved_iou is not None:
            found.append(f"Moved labels overlap with themselves by a mean IoU of {self.moved_iou:.3f}.")
        if self.rescored:
            found.append(f"{self.rescored} of {self.total[Change.UNCHANGED]} unchanged masks have another score.")
        found += [
            f"{count} went from {before} to {after}." for (before, after), count in self.class_changes.most_common()
        ]
        if self.other_outputs and not self.changed_images:
            found.append(f"The masks are the same, but these differ: {', '.join(self.other_outputs)}.")
        return found


def diff_versions(
    before: Artifacts,
    after: Artifacts,
    *,
    largest: int = 10,
    min_iou: float = 0.5,
    visit: Callable[[ImageDiff], None] | None = None,
) -> Difference:
    """Compare the labels of two versions of one stage, image by image.

    Args:
        before: the files of the first version.
        after: the files of the second version.
        largest: number of images to keep with their instances.
        min_iou: the least IoU, 0 to 1, at which two masks are the same instance.
        visit: a function to call with each image.

    Raises:
        InputError: the versions are of different stages, or an artifact is missing, damaged or of an older schema.
    """
    if before.version.stage != after.version.stage:
        raise InputError(
            f"{before.version} holds labels of {before.version.stage}, {after.version} of {after.version.stage}. "
            "Compare two versions of one stage."
        )
    names = joined_class_names(before.categories, after.categories)
    result = Difference(
        before=before.version,
        after=after.version,
        causes=find_causes(before.version, after.version),
        inputs=compare_inputs(before, after),
        by_class={name: dict.fromkeys(Change, 0) for name in names},
    )

    def images() -> Iterator[ImageDiff]:
        for image in diff_images(before, after, min_iou=min_iou):
            _add(result, image)
            if visit is not None:
                visit(image)
            yield image

    result.largest = [
        image for image in nlargest(largest, images(), key=lambda image: image.changed) if image.is_changed
    ]
    return result


def diff_images(
    before: Artifacts, after: Artifacts, *, min_iou: float = 0.5, only: Collection[str] | None = None
) -> Iterator[ImageDiff]:
    """Yield every training image of both versions, or those in `only`, with what became of its instances.

    Images are read one at a time: memory does not grow with their number if both versions have them in the same order.

    Args:
        before: the files of the first version.
        after: the files of the second version.
        min_iou: the least IoU, 0 to 1, at which two masks are the same instance.
        only: the image_ids to compare; None: all.

    Raises:
        InputError: an artifact is missing, damaged or of an older schema.
    """
    stage = before.version.stage
    pairing = Pairing(before.training_images, after.training_images)
    streams = [
        ImageStream(iter_images(artifacts.file(instances_of(stage)), INSTANCES, COLUMNS), ordered=pairing.ordered)
        for artifacts in (before, after)
    ]
    names = joined_class_names(before.categories, after.categories)
    lookups = [_class_indices(artifacts.categories, names) for artifacts in (before, after)]
    for pair in pairing:
        image_id = next(record.image_id for record in pair if record is not None)
        if only is not None and image_id not in only:
            continue
        old, new = (
            _Side.of(record, {} if record is None else stream.take(record.row), lookup)
            for record, stream, lookup in zip(pair, streams, lookups, strict=True)
        )
        pairs = match_instances(old.masks, new.masks, min_iou=min_iou)
        largest_px = max(side.masks.height * side.masks.width for side in (old, new))
        yield ImageDiff(
            image_id=image_id,
            instances=[_instance_diff(each, old, new, names) for each in pairs],
            changed=sum(each.changed_px for each in pairs) / largest_px,
        )


def joined_class_names(before: Sequence[Category], after: Sequence[Category]) -> list[str]:
    """Return the names of the classes of both versions, without repetition."""
    return list(dict.fromkeys(category.name for category in (*before, *after)))


@dataclass(frozen=True)
class _Side:
    """The instances of one image in one version."""

    masks: Masks
    ids: np.ndarray
    scores: np.ndarray

    @classmethod
    def of(cls, record: ImageRecord | None, columns: Columns, lookup: Mapping[int, int]) -> "_Side":
        height, width = (0, 0) if record is None else (record.height, record.width)
        ids = [int(each) for each in columns.get("category_id", ())]
        if record is not None and (unknown := set(ids) - set(lookup)):
            raise InputError(
                f"Image {record.image_id} has labels of the unknown category_id {min(unknown)}. "
                "`bestie audit verify` says in which version, and what else is wrong."
            )
        classes = np.array([lookup[each] for each in ids], np.int64)
        masks = Masks(list(columns.get("rle", ())), classes, height, width)
        return cls(masks, columns.get("instance_id", np.zeros(0)), columns.get("score", np.zeros(0)))


def _class_indices(categories: Sequence[Category], names: Sequence[str]) -> dict[int, int]:
    return {category.category_id: names.index(category.name) for category in categories}


def _instance_diff(pair: Pair, before: _Side, after: _Side, names: Sequence[str]) -> InstanceDiff:
    old, new = pair.before, pair.after
    return InstanceDiff(
        change=pair.change,
        iou=pair.iou,
        changed_px=pair.changed_px,
        before_id=None if old is None else int(before.ids[old]),
        after_id=None if new is None else int(after.ids[new]),
        before_class=None if old is None else names[before.masks.classes[old]],
        after_class=None if new is None else names[after.masks.classes[new]],
        before_score=None if old is None else float(before.scores[old]),
        after_score=None if new is None else float(after.scores[new]),
    )


def _add(result: Difference, image: ImageDiff) -> None:
    """Add an image to the totals."""
    result.images += 1
    result.changed_images += image.is_changed
    for each in image.instances:
        name = each.after_class if each.before_class is None else each.before_class
        result.by_class[str(name)][each.change] += 1
        match each.change:
            case Change.UNCHANGED:
                result.rescored += each.before_score != each.after_score
            case Change.MOVED:
                known = result.moved_iou or 0.0
                result.moved_iou = known + (each.iou - known) / result.total[Change.MOVED]
            case Change.CLASS_CHANGED:
                result.class_changes[str(each.before_class), str(each.after_class)] += 1
