"""Trained models as predictors, whichever model a folder of weights holds, and how their answers are read."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import UInt8
from torch import Tensor

from bestie.artifacts.paths import DATA, PARAMS
from bestie.artifacts.weights import read_attributes
from bestie.errors import InputError
from bestie.params.evaluate import Evaluate
from bestie.params.map_reading import Grouping
from bestie.params.reading import parse, read_yaml
from bestie.prediction.detector_predictor import load_detector_predictor
from bestie.prediction.network_predictor import NetworkPredictor
from bestie.records import ImageRecord
from bestie.runtime.device import pick_device
from bestie.training.network_model import load_network

#: The attribute of a model's file that holds the section `evaluate` by which its answers are read.
READING = "reading"


@runtime_checkable
class Predictor(Protocol):
    """A trained model that finds instances on images.

    Attributes:
        kind: the model's name as users read it.
        num_classes: C, without background.
        shown_score: from which score on instances are worth showing; None: the model's file does not say.
    """

    kind: str
    num_classes: int
    shown_score: float | None

    def find(self, records: Iterable[ImageRecord], root: Path) -> Iterator[tuple[ImageRecord, list[dict[str, Any]]]]:
        """Yield each image with the rows of its instances, in order.

        Args:
            records: the images.
            root: the folder that the images' paths are relative to.
        """

    def find_in(self, image: UInt8[Tensor, "3 h w"], record: ImageRecord) -> list[dict[str, Any]]:
        """Return the rows of the instances in the pixels (RGB, 0..255) of an image."""


class Reading(NamedTuple):
    """How the answers of a model are read (the section `evaluate`), and the file that says so, for messages."""

    params: Evaluate
    source: str


def load_predictor(path: Path, *, device: str, reading: Reading | None = None) -> Predictor:
    """Load a network (`network.zarr`) or a Mask R-CNN (`detector.zarr`).

    Args:
        path: the folder of weights.
        device: see `pick_device`.
        reading: how pixels are grouped, whether the mirror image is used, how instances are scored, and so on; None:
            that of `find_reading`.

    Raises:
        InputError: the weights are missing or damaged, or belong to a classifier; the parameters are wrong; or there is
            no such device.
    """
    attributes = read_attributes(path)
    trained = _trained_with(attributes)
    params = (reading or find_reading(path)).params
    target = pick_device(device)
    if "architecture" in trained:
        return load_detector_predictor(path, params, device=target)
    if "decoder" in trained:
        return NetworkPredictor(
            load_network(path).to(target),
            params,
            num_classes=attributes["num_classes"],
            device=target,
            confidence=params.confidence,
        )
    raise InputError(
        f"{path} holds no network and no Mask R-CNN, so it finds no instances. "
        "Give data/train_bestie/network.zarr or data/train_mrcnn/detector.zarr."
    )


def find_reading(path: Path) -> Reading:
    """Return how the answers of a model are read, wherever the working directory is.

    The first of these counts: what the model's own file says; the section `evaluate` in `params.yaml` of the project in
    whose `data/<stage>/` the model lies; the defaults, with the grouping of the network's own training.

    Raises:
        InputError: the model cannot be read, or the section has a wrong key or value.
    """
    attributes = read_attributes(path)
    if READING in attributes:
        return Reading(parse(Evaluate, attributes[READING], source=f"{path}: its {READING}"), str(path))
    project = project_of(path)
    if project and (project / PARAMS).is_file() and "evaluate" in (values := read_yaml(project / PARAMS)):
        params = project / PARAMS
        return Reading(parse(Evaluate, values["evaluate"], source=f"{params}: evaluate"), str(params))
    grouping = _trained_with(attributes).get("snapshot_grouping", {})
    grouped = parse(Grouping, grouping, source=f"{path}: its snapshot_grouping")
    return Reading(Evaluate(grouping=grouped), "defaults")


def project_of(path: Path) -> Path | None:
    """Return the project in whose `data/<stage>/` a model lies; None for a model elsewhere."""
    data = path.resolve().parent.parent
    return data.parent if data.name == DATA.name else None


def evaluate_params(path: Path = PARAMS) -> Evaluate:
    """Return the section `evaluate` of a parameter file, or the defaults if there is none.

    Raises:
        InputError: the section has a wrong key or value.
    """
    values = read_yaml(path) if path.is_file() else {}
    return parse(Evaluate, values.get("evaluate", {}), source=f"{path}: evaluate")


def _trained_with(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    described = attributes.get("params")
    return described if isinstance(described, Mapping) else {}
