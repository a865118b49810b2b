"""A trained model, of either kind, that finds instances on images: what `bestie predict` and `evaluate` share."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bestie.artifacts.weights import load_weights
from bestie.datasets.base import ImageRecord
from bestie.detections import find_instances, table_rows
from bestie.errors import InputError
from bestie.folders import PARAMS
from bestie.network import BestieNetwork
from bestie.params import Evaluate, Grouping
from bestie.params_file import parse, read_yaml
from bestie.training.detector_training import detect_images
from bestie.training.device import pick_device, prepare_process
from bestie.training.models import load_detector, load_network

Found = Iterator[tuple[ImageRecord, list[dict[str, Any]]]]


@dataclass(frozen=True)
class Predictor:
    """A model that is ready to run.

    Attributes:
        kind: what it is, for people.
        num_classes: C.
        find: (records, root) -> each record with the rows of its instances, in order. Images of one call share a
            canvas as large as the largest of them.
    """

    kind: str
    num_classes: int
    find: Callable[[list[ImageRecord], Path], Found]


def load_predictor(path: Path, *, device: str, params: Path = PARAMS) -> Predictor:
    """A network (`network.zarr`) or a Mask R-CNN (`detector.zarr`).

    Grouping, flipping and scores are those of the section `evaluate` of `params`; without that file the section's
    defaults hold, and the network groups as it did while it was trained.

    Raises:
        InputError: the weights are missing or damaged, or are those of a classifier; or the parameters are wrong.
    """
    _, attributes = load_weights(path)
    described = attributes.get("params")
    trained = described if isinstance(described, Mapping) else {}
    evaluate = evaluate_params(params, trained)
    prepare_process(0)
    target = pick_device(device)
    if "architecture" in trained:
        detector = load_detector(path).to(target)
        find = partial(_detect, detector, device=target, precision=evaluate.precision)
        return Predictor("Mask R-CNN", attributes["num_classes"], find)
    if "decoder" in trained:
        network = load_network(path).to(target)
        return Predictor(
            "BESTIE", attributes["num_classes"], partial(_group, network, evaluate, attributes["num_classes"], target)
        )
    raise InputError(
        f"{path} holds no network and no Mask R-CNN, so it finds no instances. "
        "Give data/train_bestie/network.zarr or data/train_mrcnn/detector.zarr."
    )


def evaluate_params(path: Path = PARAMS, trained: Mapping[str, Any] | None = None) -> Evaluate:
    """The section `evaluate` of a parameter file; without one its defaults, with the grouping of a network's training.

    InputError for a section with a wrong key or value.
    """
    values = read_yaml(path) if path.is_file() else {}
    if "evaluate" in values:
        return parse(Evaluate, values["evaluate"], source=f"{path}: evaluate")
    grouping = (trained or {}).get("snapshot_grouping", {})
    return Evaluate(grouping=parse(Grouping, grouping, source="the model's snapshot_grouping"))


def _group(
    network: BestieNetwork,
    params: Evaluate,
    num_classes: int,
    device: torch.device,
    records: list[ImageRecord],
    root: Path,
) -> Found:
    for record, found in find_instances(network, records, root, params, num_classes=num_classes, device=device):
        yield record, table_rows(record, found)


def _detect(detector: Any, records: list[ImageRecord], root: Path, *, device: torch.device, precision: str) -> Found:
    yield from detect_images(detector, records, root, device=device, precision=precision)
