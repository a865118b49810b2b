"""Training of Mask R-CNN on the masks of an instance table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.models.detection import MaskRCNN

from bestie.artifacts.instances import decode_mask
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import iter_images
from bestie.method.detector import detector_targets
from bestie.params.train_mrcnn import TrainMrcnn
from bestie.records import ImageRecord
from bestie.runtime.device import autocast
from bestie.runtime.distributed import replicate
from bestie.runtime.settings import Settings
from bestie.training.augment import jitter_colors
from bestie.training.checkpoints import Checkpoints
from bestie.training.loop import Clock
from bestie.training.samples import image_tensor
from bestie.training.train import train

Sample = tuple[Tensor, dict[str, Tensor]]


@dataclass(frozen=True)
class DetectorImages:
    """Training images that have instances, with their masks; half of the samples are mirrored, colors are jittered.

    Args:
        records: the images.
        root: the folder that the images' paths are relative to.
        instances: row -> (RLE, category_id) of each instance of that image.
        jitter: strength of the color jitter, 0 to 1.
        table: the file that the instances come from, for error messages.
    """

    records: Sequence[ImageRecord]
    root: Path
    instances: dict[int, list[tuple[str, int]]]
    jitter: float
    table: Path | None = None

    def __call__(self, index: int, rng: np.random.Generator) -> Sample:
        """Return an image (3 h w, in [0, 1]) and its targets, see `detector_targets`."""
        record = self.records[index]
        entries = self.instances[record.row]
        size = (record.height, record.width)
        masks = np.stack([decode_mask(rle, *size, source=self.table) for rle, _ in entries])
        stacked = torch.from_numpy(masks.astype(np.uint8))
        image = image_tensor(self.root, record)
        if rng.random() < 0.5:
            image, stacked = image.flip(-1), stacked.flip(-1)
        image = jitter_colors(image.contiguous(), strength=self.jitter, rng=rng)
        category_id = torch.tensor([category for _, category in entries])
        return image.float() / 255, detector_targets(stacked, category_id)

    @staticmethod
    def collate(samples: list[Sample]) -> list[Sample]:
        """Return the samples as they are: the images of a batch keep their sizes."""
        return samples


def read_detector_images(
    path: Path, records: Sequence[ImageRecord], root: Path, *, jitter: float, skip_crowds: bool = True
) -> DetectorImages:
    """Return those of `records` that have instances in the table at `path`. Raises InputError like `iter_images`."""
    instances: dict[int, list[tuple[str, int]]] = {}
    for row, columns in iter_images(path, INSTANCES, ["rle", "category_id", "is_crowd"]):
        kept = [
            (rle, int(category))
            for rle, category, crowd in zip(*columns.values(), strict=True)
            if not (crowd and skip_crowds)
        ]
        if kept:
            instances[row] = kept
    return DetectorImages([r for r in records if r.row in instances], root, instances, jitter, path)


def train_detector(
    detector: MaskRCNN,
    samples: DetectorImages,
    params: TrainMrcnn,
    settings: Settings,
    device: torch.device,
    *,
    checkpoints: Checkpoints | None = None,
    description: str = "train_mrcnn",
) -> list[dict[str, float]]:
    """Train to the end and return the history, one row per epoch.

    Raises:
        InputError: see `Loop.run`.
        StoppedError: see `Loop.run`.
    """

    replica = replicate(detector)

    def step(batch: list[Sample], _clock: Clock) -> dict[str, Tensor]:
        images = [image.to(device) for image, _ in batch]
        targets = [{name: each.to(device) for name, each in target.items()} for _, target in batch]
        with autocast(device, params.precision):
            losses = replica(images, targets)
        losses = {name.removeprefix("loss_"): value.float() for name, value in losses.items()}
        return {"total": torch.stack(list(losses.values())).sum(), **losses}

    return train(detector, samples, step, params, settings, description=description, checkpoints=checkpoints)
