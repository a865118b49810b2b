"""Training samples: images with what the earlier stages know of them, augmented together."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from bestie.artifacts.maps import MapReader
from bestie.datasets.base import VOID, ImageRecord, read_image
from bestie.params import Augmentation
from bestie.regions import label_components
from bestie.training.augment import crop_and_flip, jitter_colors


def image_tensor(root: Path, record: ImageRecord) -> UInt8[Tensor, "3 h w"]:
    """The pixels of an image, RGB, 0..255. InputError as `read_image`."""
    return torch.from_numpy(read_image(root, record)).permute(2, 0, 1)


class LabelledBatch(NamedTuple):
    """Images and their image-level labels."""

    images: UInt8[Tensor, "b 3 h w"]
    labels: Float[Tensor, "b c"]


@dataclass(frozen=True)
class LabelledImages:
    """Samples for the classifier."""

    records: list[ImageRecord]
    root: Path
    num_classes: int
    augmentation: Augmentation

    def __call__(self, index: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Sample `index`, augmented by choices drawn from `rng`."""
        record, params = self.records[index], self.augmentation
        image = image_tensor(self.root, record)
        image, _ = crop_and_flip(image, {}, crop_px=params.crop_px, scale=params.scale, flip=params.flip, rng=rng)
        image = jitter_colors(image, strength=params.jitter, rng=rng)
        return image, torch.from_numpy(record.label_vector(self.num_classes))

    @staticmethod
    def collate(samples: list[tuple[Tensor, Tensor]]) -> LabelledBatch:
        """Stack samples."""
        images, labels = zip(*samples, strict=True)
        return LabelledBatch(torch.stack(images), torch.stack(labels))


class InstanceBatch(NamedTuple):
    """Images with a semantic map and instances.

    `instance` holds ids 1..n per image, `category` the category_id of id i at column i - 1 (0: unused),
    `components` the connected components of the semantic map, numbered within the image. With point
    supervision `points_yx` are the labelled points (-1: unused), each of `points_category`.
    """

    images: UInt8[Tensor, "b 3 h w"]
    labels: Float[Tensor, "b c"]
    semantic: UInt8[Tensor, "b h w"]
    instance: Int[Tensor, "b h w"]
    category: Int[Tensor, "b n"]
    components: Int[Tensor, "b h w"]
    points_yx: Int[Tensor, "b m 2"] | None
    points_category: Int[Tensor, "b m"] | None

    def to(self, device: torch.device) -> "InstanceBatch":
        """The batch on `device`."""
        moved: list[Any] = [None if each is None else each.to(device, non_blocking=True) for each in self]
        return InstanceBatch(*moved)


@dataclass(frozen=True)
class InstanceImages:
    """Samples for the network: image, semantic map and instances under one crop and flip.

    Args:
        semantic: reader of `semantic` maps (WSSS, or true maps for an upper bound).
        instance: reader of `instance` maps.
        categories: row -> category_id of each instance id of that image, in order.
        points: row -> (x, y, category_id) of labelled points; None without point supervision.
    """

    records: list[ImageRecord]
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
        record, params = self.records[index], self.augmentation
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
        image = image_tensor(self.root, record)
        image, cut = crop_and_flip(image, maps, crop_px=params.crop_px, scale=params.scale, flip=params.flip, rng=rng)
        sample = {
            "images": jitter_colors(image, strength=params.jitter, rng=rng),
            "labels": torch.from_numpy(record.label_vector(self.num_classes)),
            "category": torch.from_numpy(self.categories.get(row, np.zeros(0)).astype(np.int64)),
            "components": self._components(cut["semantic"]),
            **cut,
        }
        if self.points is not None:
            sample |= _points_in(sample.pop("point"), self.points.get(row))
        return sample

    def _components(self, semantic: UInt8[Tensor, "h w"]) -> Int[Tensor, "h w"]:
        if not self.with_components:
            return torch.zeros_like(semantic, dtype=torch.int32)
        return torch.from_numpy(label_components(semantic.numpy()).astype(np.int32))

    def _point_map(self, record: ImageRecord) -> Int[Tensor, "h w"]:
        """Point i as a 3 x 3 square of value i + 1, which survives scaling by the nearest pixel."""
        canvas = torch.zeros((record.height, record.width), dtype=torch.int32)
        for number, (x, y, _) in enumerate(self.points.get(record.row, ()) if self.points else (), start=1):
            top, left = max(round(y) - 1, 0), max(round(x) - 1, 0)
            canvas[top : round(y) + 2, left : round(x) + 2] = number
        return canvas

    @staticmethod
    def collate(samples: list[dict[str, Tensor]]) -> InstanceBatch:
        """Stack samples; tables of instances and points are filled up to the longest."""
        stacked = {
            name: torch.stack([sample[name] for sample in samples])
            for name in ("images", "labels", "semantic", "instance", "components")
        }
        points = "points_yx" in samples[0]
        return InstanceBatch(
            **stacked,
            category=_stack_padded([sample["category"] for sample in samples], 0),
            points_yx=_stack_padded([s["points_yx"] for s in samples], -1) if points else None,
            points_category=_stack_padded([s["points_category"] for s in samples], 0) if points else None,
        )


def _points_in(point_map: Int[Tensor, "h w"], points: np.ndarray | None) -> dict[str, Tensor]:
    """Where the points of an image lie after augmentation; those outside of the crop are dropped."""
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
