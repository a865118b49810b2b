"""Which images, image-level labels and WSSS maps differ between two versions: the details of a change of data."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bestie.artifacts.schemas import WSSS_SUMMARY as WSSS_SCHEMA
from bestie.artifacts.tables import iter_images
from bestie.audit.pairing import ImageStream, Pairing
from bestie.audit.sources import CATEGORIES, IMAGES, WSSS_SUMMARY, Artifacts
from bestie.records import ImageRecord

#: Number of names that a sentence lists; it only counts the others.
LISTED = 3

Labels = tuple[str, ...]


@dataclass(frozen=True)
class InputChanges:
    """The image_ids of training images that changed; `relabeled` has the names of their classes before and after."""

    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    relabeled: dict[str, tuple[Labels, Labels]] = field(default_factory=dict)
    other_pixels: list[str] = field(default_factory=list)
    other_wsss: list[str] = field(default_factory=list)

    def sentences(self) -> list[str]:
        """Return what changed, one sentence each, with some of the image_ids."""
        relabeled = [f"{name} ({_labels(old)} -> {_labels(new)})" for name, (old, new) in self.relabeled.items()]
        facts = {
            "added": self.added,
            "removed": self.removed,
            "with other labels": relabeled,
            "with other pixels": self.other_pixels,
            "with another WSSS map": self.other_wsss,
        }
        return [f"{_count(names)} {fact}: {_some(names)}" for fact, names in facts.items() if names]

    def of_image(self, image_id: str) -> list[str]:
        """Return what changed about one image, in a few words each."""
        facts = {
            "new image": image_id in self.added,
            "image removed": image_id in self.removed,
            "other pixels": image_id in self.other_pixels,
            "another WSSS map": image_id in self.other_wsss,
        }
        found = [fact for fact, holds in facts.items() if holds]
        if image_id in self.relabeled:
            old, new = self.relabeled[image_id]
            found.append(f"labels {_labels(old)} -> {_labels(new)}")
        return found


def compare_inputs(before: Artifacts, after: Artifacts) -> InputChanges:
    """Compare the index and the WSSS maps of two versions. Raises InputError if they cannot be read."""
    changes = InputChanges()
    if all(before.hashes.get(path) == after.hashes.get(path) for path in (IMAGES, CATEGORIES, WSSS_SUMMARY)):
        return changes
    sides = (before, after)
    names = [[category.name for category in artifacts.categories] for artifacts in sides]
    pairing = Pairing(before.training_images, after.training_images)
    wsss = [_wsss_hashes(artifacts, ordered=pairing.ordered) for artifacts in sides]
    for old, new in pairing:
        if old is None or new is None:
            (changes.added if new else changes.removed).append((old or new).image_id)  # type: ignore[union-attr]
            continue
        labels = [_named(record, each) for record, each in zip((old, new), names, strict=True)]
        if labels[0] != labels[1]:
            changes.relabeled[old.image_id] = (labels[0], labels[1])
        if old.sha256 != new.sha256:
            changes.other_pixels.append(old.image_id)
        maps = [stream.take(record.row).get("sha256") for stream, record in zip(wsss, (old, new), strict=True)]
        if maps[0] is not None and maps[1] is not None and maps[0][0] != maps[1][0]:
            changes.other_wsss.append(old.image_id)
    return changes


def _wsss_hashes(artifacts: Artifacts, *, ordered: bool) -> ImageStream:
    rows = iter_images(artifacts.file(WSSS_SUMMARY), WSSS_SCHEMA, ["sha256"]) if artifacts.has(WSSS_SUMMARY) else ()
    return ImageStream(iter(rows), ordered=ordered)


def _named(record: ImageRecord, names: Sequence[str]) -> Labels:
    return tuple(names[label - 1] for label in record.labels)


def _labels(names: Labels) -> str:
    return ", ".join(names) or "none"


def _count(names: Sequence[str]) -> str:
    return "1 image" if len(names) == 1 else f"{len(names)} images"


def _some(names: Sequence[str]) -> str:
    rest = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {rest} more" if rest > 0 else "")
