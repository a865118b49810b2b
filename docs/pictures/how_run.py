"""A finished run for `how_it_works.py`: its files, what its models make of an image, and which images show the most."""

from collections import defaultdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bestie.artifacts.image_index import read_images
from bestie.artifacts.instances import decode_mask
from bestie.artifacts.maps import MapReader
from bestie.artifacts.paths import folder
from bestie.artifacts.schemas import COMPONENTS, CUES, INSTANCES
from bestie.artifacts.tables import as_rows, read_categories, read_table
from bestie.audit.components import component_masks
from bestie.datasets.image_reading import read_image
from bestie.errors import InputError
from bestie.evaluation.scores import read_mask_table
from bestie.method.inference import Instances
from bestie.method.network import BestieNetwork, Outputs
from bestie.method.pam import Classifier
from bestie.method.refinement import Refined, refine
from bestie.metrics.masks import MaskTable, measure_overlaps
from bestie.params.map_reading import MapReading
from bestie.params.params_yaml import Params, load_params
from bestie.pictures import fit_image
from bestie.prediction.network_predictor import NetworkPredictor
from bestie.records import ImageRecord, Point
from bestie.training.classifier_model import load_classifier
from bestie.training.network_model import load_network

CPU = torch.device("cpu")
LEAST_IOU = 0.5

Picture = np.ndarray
Rows = list[dict[str, Any]]


class Run:
    """The files of a finished run, and what its models make of an image."""

    def __init__(self) -> None:
        self.params: Params = load_params()
        self.records = read_images(folder("prepare") / "images.parquet")
        self.names = [each.name for each in read_categories(folder("prepare") / "categories.parquet")]

    def record(self, image_id: str) -> ImageRecord:
        """Return an image of the index. Raises InputError if there is none of that name."""
        for record in self.records:
            if record.image_id == image_id:
                return record
        raise InputError(f"data/prepare/images.parquet has no image '{image_id}'.")

    def split(self, name: str) -> list[ImageRecord]:
        """Return the images of a split."""
        return [record for record in self.records if record.split == name]

    def picture(self, record: ImageRecord, size_px: int) -> Picture:
        """Return the image, enlarged."""
        return fit_image(read_image(self.params.dataset.image_root, record), size_px)

    def instances(self, record: ImageRecord, stage: str, table: str = "instances") -> Rows:
        """Return the rows of an instance table for an image."""
        return list(as_rows(read_table(folder(stage) / f"{table}.parquet", INSTANCES, where={"row": record.row})))

    def cues(self, record: ImageRecord) -> list[Point]:
        """Return the cues of an image."""
        rows = as_rows(read_table(folder("extract_cues") / "cues.parquet", CUES, where={"row": record.row}))
        return [Point(int(r["category_id"]), float(r["y"]), float(r["x"]), float(r["score"])) for r in rows]

    def components(self, record: ImageRecord) -> Rows:
        """Return the components of an image's WSSS map with their verdicts."""
        path = folder("make_pseudo_labels") / "components.parquet"
        return list(as_rows(read_table(path, COMPONENTS, where={"row": record.row})))

    def map(self, record: ImageRecord, path: str, name: str) -> np.ndarray:
        """Return one map of an image, from a group of map arrays."""
        return MapReader(Path("data") / path).read(record.row, name, record.height, record.width)

    @cached_property
    def classifier(self) -> Classifier:
        """The classifier of `train_pam`."""
        return load_classifier(folder("train_pam") / "classifier.zarr").eval()

    @cached_property
    def network(self) -> BestieNetwork:
        """The network of `train_bestie`."""
        return load_network(folder("train_bestie") / "network.zarr")

    def predict(self, record: ImageRecord, reading: MapReading) -> tuple[Outputs, Instances]:
        """Return the network's maps of an image, and the instances on them of the image's own classes."""
        predictor = NetworkPredictor(
            self.network, reading, num_classes=len(self.names), device=CPU, use_image_labels=True
        )
        ((_, outputs),) = predictor.maps([record], self.params.dataset.image_root)
        return outputs, predictor.instances(outputs, record)

    def refine(self, record: ImageRecord) -> Refined:
        """Return the refined labels that a training step would make of an image now."""
        params = self.params.train_bestie
        refinement = params.refinement
        reading = MapReading(grouping=params.snapshot_grouping, flip=False, precision=params.precision)
        outputs, _ = self.predict(record, reading)
        return refine(
            outputs.center,
            outputs.offset,
            semantic_logits=outputs.semantic,
            image_labels=torch.from_numpy(record.label_vector(len(self.names)))[None],
            wsss=torch.from_numpy(self.map(record, "import_wsss/maps.zarr", "semantic"))[None],
            threshold=refinement.threshold,
            window_px=refinement.window_px,
            sigma_px=params.sigma_px,
            cluster=refinement.cluster,
            cluster_distance_px=refinement.cluster_distance_px,
            confidence=refinement.confidence,
            max_per_component=refinement.max_per_component,
        )


def pick_image(run: Run) -> ImageRecord:
    """Return a training image of several objects with one that is not labeled, and that the network finds.

    All pseudo labels are right. Of the images that qualify the one with the most classes, then with the most objects
    that the network finds, comes first.
    """
    records = run.split("train")
    truth = read_mask_table(folder("prepare") / "ground_truth.parquet", records)
    labeled, wrong = found_by(truth, read_mask_table(folder("make_pseudo_labels") / "instances.parquet", records))
    exported, _ = found_by(truth, read_mask_table(folder("export_mrcnn") / "instances.parquet", records))
    objects = objects_of(truth)

    def rank(record: ImageRecord) -> tuple:
        every = objects[record.row]
        missing = every - labeled
        return (
            len(every) >= 3 and len(missing) == 1 and not wrong[record.row],
            len(missing & exported) == 1,
            len(record.labels),
            len(every & exported),
        )

    return max(records, key=rank)


def pick_second(run: Run, first: ImageRecord) -> ImageRecord:
    """Return a training image whose components have every verdict, with two touching objects in one component."""
    statuses: dict[int, set[str]] = defaultdict(set)
    for row in as_rows(read_table(folder("make_pseudo_labels") / "components.parquet", COMPONENTS)):
        statuses[row["row"]].add(row["status"])
    records = [record for record in run.split("train") if record != first]
    most = max(len(statuses[record.row]) for record in records)
    candidates = [record for record in records if len(statuses[record.row]) == most]
    return max(candidates, key=lambda record: shared_components(run, record))


def shared_components(run: Run, record: ImageRecord) -> int:
    """Return how many components with several cues cover most of more than one object."""
    rows = [row for row in run.components(record) if row["status"] == "several_cues"]
    masks = component_masks(run.map(record, "import_wsss/maps.zarr", "semantic"), rows)
    objects = run.instances(record, "prepare", "ground_truth")
    true = [decode_mask(str(row["rle"]), record.height, record.width) for row in objects]
    covered = [sum((each & mask).sum() > each.sum() / 2 for each in true) for mask in masks if mask is not None]
    return sum(number > 1 for number in covered)


def pick_validation(run: Run) -> ImageRecord:
    """Return a validation image of several objects on which network and Mask R-CNN find the most and err the least."""
    records = run.split("val")
    truth = read_mask_table(folder("prepare") / "ground_truth.parquet", records)
    objects = objects_of(truth)
    tables = [read_mask_table(folder("evaluate") / f"{name}.parquet", records) for name in ("bestie", "mrcnn")]
    results = [found_by(truth, best_of_each(table)) for table in tables]

    def rank(record: ImageRecord) -> tuple:
        every = objects[record.row]
        right = sum(len(every & found) for found, _ in results)
        errors = sum(wrong[record.row] for _, wrong in results)
        return len(every) >= 3, right - errors, len(record.labels)

    return max(records, key=rank)


def found_by(truth: MaskTable, table: MaskTable) -> tuple[set[int], dict[int, int]]:
    """Return which true objects a table finds, and the number of its other instances in each image."""
    overlaps = measure_overlaps(truth, table)
    right = overlaps.best_iou >= LEAST_IOU
    wrong: dict[int, int] = defaultdict(int)
    seen: set[int] = set()
    for row, true, is_right in zip(table.row.tolist(), overlaps.best_truth.tolist(), right, strict=True):
        if is_right and true not in seen:
            seen.add(true)
        else:
            wrong[row] += 1
    return seen, wrong


def objects_of(truth: MaskTable) -> dict[int, set[int]]:
    """Return the numbers of the true objects of each image."""
    objects: dict[int, set[int]] = defaultdict(set)
    for number, row in enumerate(truth.row.tolist()):
        objects[row].add(number)
    return objects


def best_of_each(table: MaskTable) -> MaskTable:
    """Return the instances with at least half of the best score in their image."""
    best: dict[int, float] = defaultdict(float)
    for row, score in zip(table.row.tolist(), table.score.tolist(), strict=True):
        best[row] = max(best[row], score)
    pairs = zip(table.row.tolist(), table.score.tolist(), strict=True)
    kept = np.array([score >= best[row] / 2 for row, score in pairs], bool)
    columns = (table.row[kept], table.category_id[kept], table.score[kept])
    rle = [code for code, keep in zip(table.rle, kept, strict=True) if keep]
    return MaskTable(*columns, rle=rle, is_crowd=table.is_crowd[kept])
