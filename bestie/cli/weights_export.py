"""`bestie weights export`: the format by the suffix of the file."""

from pathlib import Path
from typing import Any

from bestie.errors import InputError


def export_to(source: Path, target: Path) -> tuple[dict[str, Any], str]:
    """Write weights for other programs, and return what was written as JSON values and as a line.

    Args:
        source: a `*.zarr` folder with weights.
        target: the file: `.safetensors` for the tensors; `.pt2` or `.onnx` for the network as a graph.

    Raises:
        InputError: the weights cannot be read, the suffix is another one, or the weights are not those of a network.
    """
    from bestie.artifacts.atomic import as_file
    from bestie.artifacts.weights import load_weights, save_safetensors

    target, suffix = as_file(target), target.suffix.lower()
    if suffix == ".safetensors":
        tensors, _ = load_weights(source)
        save_safetensors(target, tensors)
        shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
        return {"path": target, "tensors": shapes}, f"{target}: {len(tensors)} tensors"
    from bestie.prediction.deployed import FORMATS, write_graph
    from bestie.prediction.model import load_model

    if suffix not in FORMATS:
        raise InputError(f"{target}: give the file the suffix .safetensors, {' or '.join(FORMATS)}.")
    model = load_model(source, device="cpu")
    facts = write_graph(model, target, FORMATS[suffix])
    return {"path": target, "format": FORMATS[suffix], **facts}, f"{target}: {FORMATS[suffix]}, see docs/deploy.md"
