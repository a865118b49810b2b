"""The network as one graph for other programs: torch-export (`.pt2`) and ONNX (`.onnx`).

The graph maps images (float32 `b 3 h w`, RGB, 0..255, sides that are multiples of 32 px) to class probabilities, the
center map and the offset map, of the same size. Sizes are free. What it does not hold, the few lines that group pixels
into instances, is in docs/deploy.md.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bestie.artifacts.atomic import atomic_output
from bestie.errors import InputError
from bestie.method.network import BestieNetwork
from bestie.prediction.model import Model
from bestie.prediction.network_predictor import NetworkPredictor
from bestie.prediction.padded_image import STRIDE_PX

TORCH_EXPORT, ONNX = "torch-export", "onnx"
#: The format by the suffix of a file.
FORMATS = {".pt2": TORCH_EXPORT, ".onnx": ONNX}
OUTPUTS = ("probability", "center", "offset")
#: The name of the JSON text with names and grouping in either file.
FACTS = "bestie"
#: Traced with an image of this size; the graph takes any.
TRACED_HW = (96, 128)
MAX_STRIDES = 256


class DeployedNetwork(nn.Module):
    """The network with probabilities in place of logits, and its maps as a plain tuple."""

    def __init__(self, network: BestieNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, images: Float[Tensor, "b 3 h w"]
    ) -> tuple[Float[Tensor, "b classes h w"], Float[Tensor, "b k h w"], Float[Tensor, "b 2 h w"]]:
        """Return class probabilities (channel 0: background), center values, and (dy, dx) in px."""
        outputs = self.network(images)
        return outputs.semantic.softmax(dim=1), outputs.center, outputs.offset


def write_graph(model: Model, path: Path, kind: str) -> dict[str, Any]:
    """Write a network as a graph, and return what its file says about it: names of the classes, and the grouping.

    Args:
        model: a network.
        path: the file.
        kind: `torch-export` or `onnx`.

    Raises:
        InputError: the model is a Mask R-CNN, or ONNX is asked for and its packages are not installed.
    """
    if not isinstance(model.predictor, NetworkPredictor):
        raise InputError(f"{model.path} is a Mask R-CNN; only the network (network.zarr) is written as a graph.")
    network = DeployedNetwork(model.predictor.network).eval()
    reading = model.reading.params
    facts = {
        "names": model.names,
        "stride_px": STRIDE_PX,
        "threshold": reading.grouping.threshold,
        "window_px": reading.grouping.window_px,
        "min_area_px": reading.min_area_px,
    }
    write = _write_onnx if kind == ONNX else _write_torch_export
    with atomic_output(path) as partial:
        write(network, partial, facts)
    return facts


def _sizes() -> tuple[tuple[Tensor], tuple[dict[int, Any]]]:
    """Return an image to trace, and which of its sizes are free."""
    height, width = (torch.export.Dim(name, min=1, max=MAX_STRIDES) for name in ("height", "width"))
    return (torch.zeros(1, 3, *TRACED_HW),), ({2: STRIDE_PX * height, 3: STRIDE_PX * width},)


def _write_torch_export(network: DeployedNetwork, path: Path, facts: Mapping[str, Any]) -> None:
    inputs, free = _sizes()
    with torch.no_grad():
        program = torch.export.export(network, inputs, dynamic_shapes=free)
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={FACTS: json.dumps(facts)})


def _write_onnx(network: DeployedNetwork, path: Path, facts: Mapping[str, Any]) -> None:
    inputs, free = _sizes()
    try:
        with torch.no_grad():
            program = torch.onnx.export(
                network,
                inputs,
                dynamo=True,
                dynamic_shapes=free,
                input_names=["images"],
                output_names=list(OUTPUTS),
                verbose=False,
            )
    except ImportError as error:
        raise InputError(
            f"ONNX needs packages that are not installed ({error}): pip install onnx onnxscript"
        ) from error
    assert program is not None
    program.model.metadata_props[FACTS] = json.dumps(facts)
    with path.open("wb") as file:
        file.write(program.model_proto.SerializeToString())
