"""Instance masks from image-level labels: the method of BESTIE (CVPR 2022) and its building blocks.

In Python, `bestie.load("network.zarr").predict("photo.jpg")` finds the instances of an image with a trained model.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bestie.prediction.model import Model

__all__ = ["load"]


def load(path: str | Path, *, device: str = "auto") -> "Model":
    """Load a trained network (`network.zarr`) or Mask R-CNN (`detector.zarr`), ready to predict.

    Args:
        path: the folder of weights.
        device: `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, ...

    Raises:
        bestie.errors.InputError: see `bestie.prediction.model.load_model`.
    """
    # By name: torch takes seconds to load, for which `bestie --help` should not wait.
    return import_module("bestie.prediction.model").load_model(path, device=device)
