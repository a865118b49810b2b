"""Training samples: images together with the maps and labels of the earlier stages, augmented alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from bestie.artifacts.maps import MapReader
from bestie.datasets.image_reading import read_image
from bestie.method.own_classes import find_own_classes
from bestie.method.regions import Components, label_regions
from bestie.params.training import Augmentation
from bestie.records import VOID, ImageRecord
from bestie.training.augment import crop_and_flip, jitter_colors


def image_tensor(root: Path, record: ImageRecord) -> UInt8[Tensor, "3 h w"]:
    """Return the pixels of an image, RGB, 0..255. Raises InputError like `read_image`."""
    return torch.from_numpy(read_image(root, record)).permute(2, 0, 1)


def augmented(
    root: Path,
    record: ImageRecord,
    maps: Mapping[str, tuple[Tensor, int]],
    params: Augmentation,
    rng: np.random.Generator,
) -> tuple[UInt8[Tensor, "3 s s"], dict[str, Tensor]]:
    """Return an image and its maps, cut and mirrored alike (`crop_and_flip`), the image also with other colors.

    Args:
        root: the folder that the path of the image is relative to.
        record: the image.
        maps: see `crop_and_flip`.
        params: crop, scale, flip and color jitter.
        rng: source of all random choices.

    Raises:
        InputError: see `read_image`.
    """
    image, cut = crop_and_flip(
        image_tensor(root, record), maps, crop_px=params.crop_px, scale=params.scale, flip=params.flip, rng=rng
    )
    return jitter_colors(image, strength=params.jitter, rng=rng), cut


class LabeledBatch(NamedTuple):
    """Images (RGB, 0..255) and their image-level labels (0 or 1 for each class)."""

    images: UInt8[Tensor, "b 3 h w"]
    labels: Float[Tensor, "b c"]


@dataclass(frozen=True)
class LabeledImages:
    """Samples for the classifier: augmented images and their image-level labels."""

    records: Sequence[ImageRecord]
    root: Path
    num_classes: int
    augmentation: Augmentation

    def __call__(self, index: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Sample `index`, augmented by choices drawn from `rng`."""
        record = self.records[index]
        image, _ = augmented(self.root, record, {}, self.augmentation, rng)
        return image, torch.from_numpy(record.label_vector(self.num_classes))

    @staticmethod
    def collate(samples: list[tuple[Tensor, Tensor]]) -> LabeledBatch:
        """Stack samples."""
        images, labels = zip(*samples, strict=True)
        return LabeledBatch(torch.stack(images), torch.stack(labels))


class InstanceBatch(NamedTuple):
    """Images (RGB, 0..255) with semantic maps and instances.

    `instance` holds the ids 1..n of each image (0: none), and column i - 1 of `category` the category_id of id i
    (0: unused). `components` are the regions that refinement splits. With point supervision, `points_yx` are the
    labeled points in pixels (-1: unused) and `points_category` their classes. `own_classes` is the `category_id` of
    `OwnClasses`: the classes of each image's labels, instances and points.
    """

    images: UInt8[Tensor, "b 3 h w"]
    labels: Float[Tensor, "b c"]
    semantic: UInt8[Tensor, "b h w"]
    instance: Int[Tensor, "b h w"]
    category: Int[Tensor, "b n"]
    components: Components
    points_yx: Int[Tensor, "b m 2"] | None
    points_category: Int[Tensor, "b m"] | None
    own_classes: Int[Tensor, "b p"]

    def to(self, device: torch.device) -> "InstanceBatch":
        """Return the batch on `device`."""
        moved: list[Any] = [None if each is None else each.to(device, non_blocking=True) for each in self]
        return InstanceBatch(*moved)


@dataclass(frozen=True)
class InstanceImages:
    """Samples for the network: image, semantic map and instances with the same crop and flip.

    Args:
        records: the images.
        root: the folder that the images' paths are relative to.
        num_classes: C, without background.
        augmentation: crop, scale, flip and color jitter.
        semantic: reader of `semantic` maps: WSSS maps, or true maps for an upper bound.
        instance: reader of `instance` maps.
        categories: row -> category_id of each instance id of that image, in order.
        points: row -> (x, y, category_id) of the labeled points in pixels; None without point supervision.
        with_components: label the connected components of the semantic map, which only refinement reads.
    """

    records: Sequence[ImageRecord]
    root: Path
    num_classes: int
    augmentation: Augmentation
    semantic: MapReader
    instance: MapReader
    categories: dict[int, np.ndarray]
    points: dict[int, np.ndarray] | None = None
    with_components: bool = True

    def __call__(self, index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Sample `index`, augmented by choices drawn from `rng`."""
        record = self.records[index]
        size = (record.row, record.height, record.width)
        row, height, width = size
        maps = {
            "semantic": (torch.from_numpy(self.semantic.read(row, "semantic", height, width)), VOID),
            "instance": (
                torch.from_numpy(self.instance.read(row, "instance", height, width).astype(np.int32)),
                0,
            ),
        }
        if self.points is not None:
            maps["point"] = (self._point_map(record), 0)
        image, cut = augmented(self.root, record, maps, self.augmentation, rng)
        labels = record.label_vector(self.num_classes)
        sample = {
            "images": image,
            "labels": torch.from_numpy(labels),
            "category": torch.from_numpy(self.categories.get(row, np.zeros(0)).astype(np.int64)),
            "components": torch.from_numpy(self._components(cut["semantic"], labels)),
            **cut,
        }
        if self.points is not None:
            sample |= _points_in(sample.pop("point"), self.points.get(row))
        return sample

    def _components(self, semantic: UInt8[Tensor, "h w"], labels: Float[np.ndarray, " c"]) -> Int[np.ndarray, "h w"]:
        if not self.with_components:
            return np.zeros(semantic.shape, np.int32)
        return label_regions(semantic.numpy(), labels)

    def _point_map(self, record: ImageRecord) -> Int[Tensor, "h w"]:
        """Draw point i as a 3 x 3 square of value i + 1, which survives scaling by nearest neighbor."""
        canvas = torch.zeros((record.height, record.width), dtype=torch.int32)
        for number, (x, y, _) in enumerate(self.points.get(record.row, ()) if self.points else (), start=1):
            top, left = max(round(y) - 1, 0), max(round(x) - 1, 0)
            canvas[top : round(y) + 2, left : round(x) + 2] = number
        return canvas

    @staticmethod
    def collate(samples: list[dict[str, Tensor]]) -> InstanceBatch:
        """Stack samples; their lists of instances and points are padded to the longest."""
        stacked = {
            name: torch.stack([sample[name] for sample in samples])
            for name in ("images", "labels", "semantic", "instance")
        }
        points = "points_yx" in samples[0]
        category = _stack_padded([sample["category"] for sample in samples], 0)
        points_category = _stack_padded([s["points_category"] for s in samples], 0) if points else None
        return InstanceBatch(
            **stacked,
            category=category,
            components=Components.stack([sample["components"].numpy() for sample in samples]),
            own_classes=find_own_classes(stacked["labels"], category, points_category),
            points_yx=_stack_padded([s["points_yx"] for s in samples], -1) if points else None,
            points_category=points_category,
        )


def _points_in(point_map: Int[Tensor, "h w"], points: np.ndarray | None) -> dict[str, Tensor]:
    """Find the points of an image after augmentation; those outside of the crop are dropped."""
    found, categories = [], []
    for number in torch.unique(point_map).tolist():
        if number == 0 or points is None:
            continue
        found.append((point_map == number).nonzero().float().mean(0).long())
        categories.append(int(points[number - 1][2]))
    yx = torch.stack(found) if found else torch.zeros((0, 2), dtype=torch.int64)
    return {"points_yx": yx, "points_category": torch.tensor(categories, dtype=torch.int64)}


def _stack_padded(rows: list[Tensor], fill: int) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=fill)
