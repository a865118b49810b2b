"""How the labels of two versions differ: instance by instance, summed by class and by image, and why."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nlargest

import numpy as np

from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import Columns, iter_images
from bestie.audit.causes import Cause, find_causes
from bestie.audit.inputs import InputChanges, compare_inputs
from bestie.audit.matching import Change, Masks, Pair, match_instances
from bestie.audit.pairing import ImageStream, Pairing
from bestie.audit.sources import Artifacts, instances_of
from bestie.audit.versions import Version
from bestie.datasets.base import Category, ImageRecord
from bestie.errors import InputError

COLUMNS = ("instance_id", "category_id", "score", "rle")


@dataclass(frozen=True)
class InstanceDiff:
    """What became of one instance; ids, classes and scores are None in the version that lacks it."""

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
    """One image: `changed` is the number of changed pixels, summed over instances, for each pixel of the image."""

    image_id: str
    instances: list[InstanceDiff]
    changed: float

    @property
    def counts(self) -> dict[Change, int]:
        """Instances by what became of them."""
        counted = Counter(each.change for each in self.instances)
        return {change: counted[change] for change in Change}

    @property
    def is_changed(self) -> bool:
        """Whether any instance is not as it was."""
        return any(each.change is not Change.UNCHANGED for each in self.instances)


@dataclass
class Difference:
    """Two versions of labels compared.

    Attributes:
        before: the one version.
        after: the other.
        causes: parameters, code and data that changed between them.
        inputs: images, labels and WSSS maps that changed; None where the artifacts of a version do not say.
        by_class: instances by the name of their class (before, where it has one) and what became of them.
        class_changes: instances by (class before, class after).
        images: training images of both versions together.
        changed_images: those in which an instance is not as it was.
        rescored: unchanged masks that have another score.
        moved_iou: mean IoU of the moved instances with themselves, None without any.
        largest: the images with the largest share of changed pixels, the largest first.
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
        """Instances of all classes by what became of them."""
        return {change: sum(counts[change] for counts in self.by_class.values()) for change in Change}

    @property
    def reasons(self) -> list[str]:
        """What stands between the versions, in words: changes with an effect, then the inputs that changed."""
        inputs = self.inputs.sentences() if self.inputs else []
        return [str(cause) for cause in self.causes if cause.effective] + inputs

    @property
    def without_effect(self) -> list[str]:
        """Changes that left all outputs as they were, in words."""
        return [str(cause) for cause in self.causes if not cause.effective]

    @property
    def other_outputs(self) -> list[str]:
        """Outputs of the stage that are not the same in both versions."""
        old, new = self.before.outs, self.after.outs
        return sorted(path for path in {*old, *new} if old.get(path) != new.get(path))

    @property
    def is_empty(self) -> bool:
        """Whether both versions hold the same labels, their maps included."""
        return self.before.hash == self.after.hash and not self.changed_images

    def sentences(self) -> list[str]:
        """The sums that are not in the counts by class, in words."""
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
        before: the one version.
        after: the other.
        largest: how many images to keep with their instances.
        min_iou: the least IoU of two masks that are one instance.
        visit: is called with each image.

    Raises:
        InputError: the versions are of different stages, or an artifact is missing or of an older schema.
    """
    if before.version.stage != after.version.stage:
        raise InputError(
            f"{before.version} holds labels of {before.version.stage}, {after.version} of {after.version.stage}. "
            "Compare two versions of one stage."
        )
    names = class_names(before.categories, after.categories)
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
    """Every training image of both versions, or those of some image_ids, with what became of its instances.

    One image at a time: memory does not grow with their number as long as both versions have them in the same order.
    """
    stage = before.version.stage
    pairing = Pairing(before.training_images, after.training_images)
    streams = [
        ImageStream(iter_images(artifacts.file(instances_of(stage)), INSTANCES, COLUMNS), ordered=pairing.ordered)
        for artifacts in (before, after)
    ]
    names = class_names(before.categories, after.categories)
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


def class_names(before: Sequence[Category], after: Sequence[Category]) -> list[str]:
    """The names of the classes of both versions, without repetition."""
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
    """Add an image to the sums."""
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
