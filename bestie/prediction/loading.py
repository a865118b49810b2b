"""Trained models as predictors, whichever model a folder of weights holds."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from bestie.artifacts.paths import PARAMS
from bestie.artifacts.weights import load_weights
from bestie.errors import InputError
from bestie.params.evaluate import Evaluate
from bestie.params.map_reading import Grouping
from bestie.params.reading import parse, read_yaml
from bestie.prediction.detector_predictor import load_detector_predictor
from bestie.prediction.network_predictor import NetworkPredictor
from bestie.records import ImageRecord
from bestie.runtime.device import pick_device, prepare_process
from bestie.training.network_model import load_network


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


def load_predictor(path: Path, *, device: str, params: Path = PARAMS) -> Predictor:
    """Load a network (`network.zarr`) or a Mask R-CNN (`detector.zarr`).

    The section `evaluate` of `params` says how pixels are grouped, whether the mirror image is used, and how instances
    are scored. If there is no such section, its defaults hold, with the grouping of the network's own training.

    Args:
        path: the folder of weights.
        device: see `pick_device`.
        params: the parameter file; it need not exist.

    Raises:
        InputError: the weights are missing or damaged, or belong to a classifier; the parameters are wrong; or there is
            no such device.
    """
    _, attributes = load_weights(path)
    described = attributes.get("params")
    trained = described if isinstance(described, Mapping) else {}
    evaluate = evaluate_params(params, trained)
    prepare_process(0)
    target = pick_device(device)
    if "architecture" in trained:
        return load_detector_predictor(path, evaluate, device=target)
    if "decoder" in trained:
        return NetworkPredictor(
            load_network(path).to(target),
            evaluate,
            num_classes=attributes["num_classes"],
            device=target,
            confidence=evaluate.confidence,
        )
    raise InputError(
        f"{path} holds no network and no Mask R-CNN, so it finds no instances. "
        "Give data/train_bestie/network.zarr or data/train_mrcnn/detector.zarr."
    )


def evaluate_params(path: Path = PARAMS, trained: Mapping[str, Any] | None = None) -> Evaluate:
    """Return the section `evaluate` of a parameter file; without one, its defaults with the grouping of the training.

    Args:
        path: the parameter file; it need not exist.
        trained: the parameters that the model was trained with.

    Raises:
        InputError: the section has a wrong key or value.
    """
    values = read_yaml(path) if path.is_file() else {}
    if "evaluate" in values:
        return parse(Evaluate, values["evaluate"], source=f"{path}: evaluate")
    grouping = (trained or {}).get("snapshot_grouping", {})
    return Evaluate(grouping=parse(Grouping, grouping, source="the model's snapshot_grouping"))
