"""Train the network on pseudo labels with online self-refinement: `python -m stages.train_bestie`.

No true mask is read here. Snapshots of the refined labels and of the detections are written during training;
`evaluate` compares them with the ground truth (Figures 6 and 7).
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bestie.artifacts.image_index import read_images
from bestie.artifacts.maps import MapReader
from bestie.artifacts.metrics_json import write_history
from bestie.artifacts.schemas import EVOLUTION
from bestie.artifacts.tables import (
    TableWriter,
    iter_rows,
    read_categories,
    read_class_pixels,
    read_instance_categories,
    read_points,
)
from bestie.method.inference import Instances
from bestie.method.network import BestieNetwork
from bestie.method.refinement import refine
from bestie.params.dataset import Dataset
from bestie.params.map_reading import MapReading
from bestie.params.train_bestie import TrainBestie
from bestie.prediction.network_predictor import NetworkPredictor, table_rows
from bestie.records import ImageRecord
from bestie.runtime.device import pick_device, prepare_process
from bestie.runtime.distributed import spread
from bestie.runtime.fingerprint import fingerprint
from bestie.runtime.health import collapsed_centers, write_warnings
from bestie.runtime.ranks import end_helpers
from bestie.runtime.settings import Settings
from bestie.runtime.stage import folder, run_stage
from bestie.training.checkpoints import Checkpoints
from bestie.training.network_model import create_network
from bestie.training.network_training import train_network
from bestie.training.samples import InstanceImages
from bestie.training.saved_models import save_model

INDEX = folder("prepare") / "images.parquet"
CUES = folder("extract_cues") / "cues.parquet"
WSSS = folder("import_wsss") / "maps.zarr"
LABELS = folder("make_pseudo_labels")
#: Area of the smallest instance in a snapshot, in px.
SNAPSHOT_AREA_PX = 16


def main(dataset: Dataset, params: TrainBestie, settings: Settings) -> None:
    """Train the network; write it with its history and the snapshots."""
    prepare_process(params.seed)
    device = pick_device(settings.device)
    categories = read_categories(folder("prepare") / "categories.parquet")
    num_classes = len(categories)
    samples = read_samples(dataset, params, num_classes)
    classifier = folder("train_pam") / "classifier.zarr"
    network, origin = create_network(params, num_classes=num_classes, previous=classifier)
    network.to(device).to(memory_format=torch.channels_last)
    inputs = [INDEX, classifier, CUES, WSSS, LABELS / "instances.parquet"]
    name = fingerprint("train_bestie", inputs, dataset=dataset, params=params, origin=origin)
    checkpoints = Checkpoints(settings.state / "train_bestie", name, minutes=settings.checkpoint_minutes)
    snapshots = Snapshots(network, samples, params, device, checkpoints.folder)
    history: list[dict[str, float]] = []
    if params.trained is None:
        history = train_network(
            network,
            samples,
            params,
            settings,
            device,
            class_pixels=read_class_pixels(folder("import_wsss") / "summary.parquet"),
            checkpoints=checkpoints,
            epoch_end=snapshots.take,
        )
    end_helpers()
    out = folder("train_bestie")
    save_model(
        out / "network.zarr",
        network,
        params,
        num_classes=num_classes,
        origin=origin,
        categories=categories,
        snapshot_rows=snapshots.rows,
    )
    write_history(out / "history.parquet", out / "history.json", history)
    snapshots.write(out / "evolution.parquet")
    write_warnings(out, collapsed_centers(history, params.snapshot_grouping.threshold))
    checkpoints.remove()


def read_samples(dataset: Dataset, params: TrainBestie, num_classes: int) -> InstanceImages:
    """Return the training images with WSSS maps and pseudo labels, and with points if supervision is by points."""
    return InstanceImages(
        read_images(INDEX, "train"),
        dataset.image_root,
        num_classes,
        params.augmentation,
        semantic=MapReader(WSSS, keep=True),
        instance=MapReader(LABELS / "maps.zarr", keep=True),
        categories=read_instance_categories(LABELS / "instances.parquet"),
        points=read_points(CUES) if dataset.supervision == "point" else None,
        with_components=params.refinement.enabled,
    )


class Snapshots:
    """Refined labels of some training images and detections on some validation images, at some of the epochs."""

    def __init__(
        self,
        network: BestieNetwork,
        samples: InstanceImages,
        params: TrainBestie,
        device: torch.device,
        state: Path,
    ) -> None:
        self._samples, self._params = samples, params
        reading = MapReading(
            grouping=params.snapshot_grouping, flip=False, min_area_px=SNAPSHOT_AREA_PX, precision=params.precision
        )
        self._predictor = NetworkPredictor(network, reading, num_classes=samples.num_classes, device=device)
        self._device, self._state = device, state
        validation = read_images(INDEX, "val")
        self._train = evenly(samples.records, params.evolution_images)
        self._validation = evenly(validation, params.evolution_images)

    @property
    def rows(self) -> dict[str, list[int]]:
        """Rows of the images that a snapshot covers, by kind, including images without instances."""
        return {"refined": [r.row for r in self._train], "detected": [r.row for r in self._validation]}

    def take(self, epoch: int) -> dict[str, float]:
        """Write the snapshot of an epoch if one is due, and return its numbers of instances, for the history."""
        every = self._params.evolution_every
        if every == 0 or (epoch % every and epoch != self._params.epochs):
            return {}
        with TableWriter(self._file(epoch), EVOLUTION) as table:
            refined = self._append(table, self._refined(), epoch, "refined")
            detected = self._append(table, self._detected(), epoch, "detected")
        return {"snapshot_refined": refined, "snapshot_detected": detected}

    def write(self, path: Path) -> None:
        """Write all snapshots into one table."""
        with TableWriter(path, EVOLUTION) as table:
            for epoch in range(1, self._params.epochs + 1):
                if self._file(epoch).is_file():
                    table.append_rows(iter_rows(self._file(epoch), EVOLUTION))

    def _file(self, epoch: int) -> Path:
        return self._state / f"evolution_{epoch}.parquet"

    def _append(self, table: TableWriter, found: Iterator[tuple[ImageRecord, Instances]], epoch: int, kind: str) -> int:
        count = 0
        for record, instances in found:
            rows: list[dict[str, Any]] = table_rows(record, instances)
            table.append_rows({**row, "epoch": epoch, "kind": kind} for row in rows)
            count += len(rows)
        return count

    def _detected(self) -> Iterator[tuple[ImageRecord, Instances]]:
        for record, outputs in self._predictor.maps(self._validation, self._samples.root):
            yield record, self._predictor.instances(outputs, record)

    def _refined(self) -> Iterator[tuple[ImageRecord, Instances]]:
        refinement = self._params.refinement
        for record, outputs in self._predictor.maps(self._train, self._samples.root):
            semantic = self._samples.semantic.read(record.row, "semantic", record.height, record.width)
            points_yx, points_category = self._points(record)
            labels = refine(
                outputs.center,
                outputs.offset,
                semantic_logits=outputs.semantic,
                image_labels=torch.from_numpy(record.label_vector(self._samples.num_classes))[None].to(self._device),
                wsss=torch.from_numpy(semantic)[None].to(self._device),
                points_yx=points_yx,
                points_category=points_category,
                threshold=refinement.threshold,
                window_px=refinement.window_px,
                sigma_px=self._params.sigma_px,
                cluster=refinement.cluster,
                cluster_distance_px=refinement.cluster_distance_px,
                confidence=refinement.confidence,
                max_per_component=refinement.max_per_component,
            )
            instance = labels.instance[0].int().cpu().numpy()
            present = np.setdiff1d(instance, 0)  # a point to which no pixel was assigned has no instance
            columns = (labels.category[0], labels.scores[0].float(), labels.targets.centers_yx[0].float())
            category_id, score, center_yx = (column.cpu().numpy()[present - 1] for column in columns)
            yield (
                record,
                Instances(
                    category_id=category_id.astype(np.int32),
                    score=score,
                    center_yx=center_yx,
                    instance=np.where(instance > 0, np.searchsorted(present, instance) + 1, 0).astype(np.int32),
                    semantic=semantic,
                ),
            )

    def _points(self, record: ImageRecord) -> tuple[Tensor | None, Tensor | None]:
        """Return (y, x) in px and category_id of an image's points, in a batch of 1; None without point supervision."""
        if self._samples.points is None:
            return None, None
        points = torch.from_numpy(self._samples.points.get(record.row, np.zeros((0, 3)))).to(self._device)
        return points[None, :, [1, 0]].round().long(), points[None, :, 2].long()


def evenly(records: Sequence[ImageRecord], count: int) -> Sequence[ImageRecord]:
    """Return at most `count` records, evenly spaced."""
    if len(records) <= count:
        return records
    return [records[int(number)] for number in np.linspace(0, len(records) - 1, count)]


if __name__ == "__main__":
    run_stage("train_bestie", TrainBestie, spread(main), sys.argv[1:])
