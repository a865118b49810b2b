"""Upper bounds: the same network and Mask R-CNN, trained on true masks and scored as `evaluate` scores them.

The paper compares its results with full supervision: 41.8 (network) and 51.0 (Mask R-CNN trained on its masks) of
67.9 (Mask R-CNN trained on true masks). This is not a stage: nothing depends on it, and nothing else trains on the
truth.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from bestie.artifacts.image_index import read_images
from bestie.artifacts.instances import instance_map
from bestie.artifacts.map_layout import MapLayout
from bestie.artifacts.maps import MapReader, MapWriter
from bestie.artifacts.metrics_json import read_json, write_json
from bestie.artifacts.paths import DATA, folder
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import iter_images, read_categories, read_class_pixels, read_instance_categories
from bestie.errors import InputError
from bestie.evaluation.scores import mask_table, read_mask_table, rows_with_truth, score_instances
from bestie.metrics.masks import MaskTable
from bestie.params.params_yaml import Params, load_params
from bestie.params.train_bestie import TrainBestie
from bestie.prediction.detector_predictor import DetectorPredictor, selection_of
from bestie.prediction.loading import Predictor
from bestie.prediction.network_predictor import NetworkPredictor
from bestie.records import ImageRecord
from bestie.runtime.device import pick_device, prepare_process
from bestie.runtime.settings import Settings, load_settings
from bestie.training.detector_model import create_detector
from bestie.training.detector_training import read_detector_images, train_detector
from bestie.training.network_model import create_network
from bestie.training.network_training import train_network
from bestie.training.samples import InstanceImages


def run_upper_bound(seeds: list[int], *, with_detector: bool) -> list[dict[str, Any]]:
    """Train on true masks for each seed, and write the scores to `data/upper_bound/`.

    Returns:
        One row per seed and model: `model`, `seed`, `true_masks` and `this_run` (mAP50 in per cent), and `ratio`, the
        quotient of this run's score and the bound (None if the bound is 0 or the run has no score).

    Raises:
        InputError: the pipeline has not run, or its data set has no true masks.
    """
    params, settings = load_params(), load_settings()
    reached = read_json(folder("evaluate") / "metrics.json")
    rows = []
    for seed in seeds:
        scores = train_on_truth(params, settings, seed, with_detector=with_detector)
        write_json(DATA / "upper_bound" / f"seed_{seed}.json", scores)
        for model, bound in scores.items():
            own, best = reached[model]["map50"], bound["map50"]
            ratio = own / best if own is not None and best else None
            rows.append({"model": model, "seed": seed, "true_masks": best, "this_run": own, "ratio": ratio})
    return rows


def print_upper_bound(console: Console, rows: Iterable[Mapping[str, Any]]) -> None:
    """Print the rows of `run_upper_bound` as a table."""
    table = Table("model", "seed", "true masks mAP50", "this run mAP50", "ratio", box=None)
    for row in rows:
        scores = ["-" if row[name] is None else f"{row[name]:.1f}" for name in ("true_masks", "this_run")]
        table.add_row(row["model"], str(row["seed"]), *scores, "-" if row["ratio"] is None else f"{row['ratio']:.2f}")
    console.print(table)


def train_on_truth(params: Params, settings: Settings, seed: int, *, with_detector: bool) -> dict[str, Any]:
    """Train the network and the detector on the true instances of the training images, and return their scores.

    Raises:
        InputError: the training or the validation images have no true masks.
    """
    every = read_images(folder("prepare") / "images.parquet")
    truth = folder("prepare") / "ground_truth.parquet"
    labeled = rows_with_truth(truth)
    train, validation = (every.of_split(split).among(labeled) for split in ("train", "val"))
    if not train or not validation:
        raise InputError(f"{truth} has no true masks of training and validation images; there is no upper bound")
    true_masks = read_mask_table(truth, validation)
    found = {"bestie": train_network_on_truth(params, settings, seed, train, validation, len(every))}
    if with_detector:
        found["mrcnn"] = train_detector_on_truth(params, settings, seed, train, validation)
    num_classes = len(read_categories(folder("prepare") / "categories.parquet"))
    thresholds = params.evaluate.iou_thresholds
    return {
        model: score_instances(
            true_masks, table, records=validation, num_classes=num_classes, iou_thresholds=thresholds
        )[0]
        for model, table in found.items()
    }


def train_network_on_truth(
    params: Params,
    settings: Settings,
    seed: int,
    train: Sequence[ImageRecord],
    validation: Sequence[ImageRecord],
    n_rows: int,
) -> MaskTable:
    """Train the network on true semantic and instance maps, and return its instances on the validation images.

    Refinement is off: the true labels miss no object.
    """
    own = _for_truth(params.train_bestie, seed)
    prepare_process(seed)
    device = pick_device(settings.device)
    num_classes = len(read_categories(folder("prepare") / "categories.parquet"))
    semantic = MapReader(folder("prepare") / "ground_truth.zarr", keep=True)
    truth = folder("prepare") / "ground_truth.parquet"
    with TemporaryDirectory() as scratch:
        write_instance_maps(Path(scratch) / "maps.zarr", truth, train, n_rows, semantic.layout)
        samples = InstanceImages(
            train,
            params.dataset.image_root,
            num_classes,
            own.augmentation,
            semantic=semantic,
            instance=MapReader(Path(scratch) / "maps.zarr", keep=True),
            categories=read_instance_categories(truth),
            with_components=False,
        )
        network, _ = create_network(own, num_classes=num_classes, previous=folder("train_pam") / "classifier.zarr")
        network.to(device).to(memory_format=torch.channels_last)
        train_network(
            network,
            samples,
            own,
            settings,
            device,
            class_pixels=read_class_pixels(folder("import_wsss") / "summary.parquet"),
            description=f"upper bound, network, seed {seed}",
        )
    evaluate = params.evaluate
    predictor = NetworkPredictor(
        network, evaluate, num_classes=num_classes, device=device, confidence=evaluate.confidence
    )
    return _found_masks(predictor, validation, params.dataset.image_root)


def train_detector_on_truth(
    params: Params, settings: Settings, seed: int, train: Sequence[ImageRecord], validation: Sequence[ImageRecord]
) -> MaskTable:
    """Train Mask R-CNN on true masks, and return its instances on the validation images.

    It starts from the same initial weights as in the pipeline.
    """
    own = params.train_mrcnn.model_copy(update={"seed": seed})
    prepare_process(seed)
    device = pick_device(settings.device)
    num_classes = len(read_categories(folder("prepare") / "categories.parquet"))
    samples = read_detector_images(
        folder("prepare") / "ground_truth.parquet", train, params.dataset.image_root, jitter=own.jitter
    )
    previous = folder("train_bestie") / "network.zarr"
    reading = params.evaluate
    detector, _ = create_detector(own, num_classes=num_classes, previous=previous, selection=selection_of(reading))
    detector.to(device)
    train_detector(detector, samples, own, settings, device, description=f"upper bound, Mask R-CNN, seed {seed}")
    predictor = DetectorPredictor(detector, reading, num_classes=num_classes, device=device)
    return _found_masks(predictor, validation, params.dataset.image_root)


def write_instance_maps(
    path: Path, table: Path, records: Sequence[ImageRecord], n_rows: int, layout: tuple[int, int] | MapLayout
) -> None:
    """Write the instance maps of an instance table; crowds are not drawn, but keep their id."""
    wanted = {record.row: record for record in records}
    with MapWriter(path, {"instance": ("uint16", 0)}, n_rows, layout) as maps:
        for row, columns in iter_images(table, INSTANCES, ["instance_id", "rle", "is_crowd"]):
            if row in wanted:
                ids, rles = (columns[name][~columns["is_crowd"]] for name in ("instance_id", "rle"))
                maps.write(row, "instance", instance_map(wanted[row], ids, rles, source=table))


def _found_masks(predictor: Predictor, records: Sequence[ImageRecord], root: Path) -> MaskTable:
    rows = [row for _record, rows in predictor.find(records, root) for row in rows]
    return mask_table(rows, {record.row: record for record in records})


def _for_truth(params: TrainBestie, seed: int) -> TrainBestie:
    refinement = params.refinement.model_copy(update={"enabled": False})
    return params.model_copy(update={"seed": seed, "refinement": refinement, "trained": None})
