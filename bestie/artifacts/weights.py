"""Weights that cannot run code: one flat array of bytes in Zarr, with an index of the tensors in it.

safetensors and PyTorch files can be read too.
"""

import hashlib
import json
import math
import operator
from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
import zarr
from jaxtyping import Shaped, UInt8
from safetensors.torch import load_file, save_file
from torch import Tensor
from zarr.codecs import ZstdCodec
from zarr.storage import LocalStore

from bestie.artifacts.atomic import atomic_output
from bestie.errors import InputError
from bestie.records import hash_file

FORMAT = "bestie-weights-1"
CHUNK_BYTES = 4 * 2**20
SHARD_BYTES = 128 * 2**20
#: Weights hardly compress; a folder that unpacks to more than this many times its size does not hold weights.
MAX_RATIO = 1000
PYTORCH_SUFFIXES = (".pth", ".pt", ".bin")
CHECKPOINT_KEYS = ("model", "state_dict")

StateDict = dict[str, Tensor]


def save_weights(
    path: Path, state_dict: Mapping[str, Shaped[Tensor, "..."]], attributes: Mapping[str, Any] | None = None
) -> None:
    """Write tensors of any dtype and shape, in their order, with JSON values that belong to them.

    The array's attributes hold the name of the format, `index` (name, dtype, shape and first byte of each tensor), the
    SHA-256 of all bytes and, under `attributes`, the given values.

    Raises:
        ValueError: `attributes` hold NaN or infinity, which are not JSON.
        TypeError: `attributes` hold anything else that JSON cannot represent.
    """
    index, n_bytes, digest = [], 0, hashlib.sha256()
    for name, tensor in state_dict.items():
        dtype = str(tensor.dtype).removeprefix("torch.")
        index.append({"name": name, "dtype": dtype, "shape": list(tensor.shape), "offset": n_bytes})
        digest.update(_to_bytes(tensor).data)
        n_bytes += tensor.nbytes
    described = {
        "format": FORMAT,
        "sha256": digest.hexdigest(),
        "attributes": json.loads(json.dumps(dict(attributes or {}), allow_nan=False)),
        "index": index,
    }
    with atomic_output(path) as partial:
        array = zarr.create_array(
            LocalStore(partial),
            shape=(n_bytes,),
            dtype="uint8",
            chunks=(CHUNK_BYTES,),
            shards=(SHARD_BYTES,),
            filters=None,
            compressors=ZstdCodec(level=3),
            fill_value=0,
            attributes=described,
        )
        start = 0
        for block in _blocks(state_dict):
            array[start : start + len(block)] = block
            start += len(block)


def load_weights(path: Path) -> tuple[StateDict, dict[str, Any]]:
    """Read the tensors, on the CPU and in the order in which they were saved, and the attributes.

    Raises:
        InputError: the folder is missing, holds something else, or its bytes are damaged or incomplete.
    """
    array, described = _open_weights(path)
    data = _read_bytes(path, array)
    if hashlib.sha256(data.data).hexdigest() != described["sha256"]:
        raise InputError(f"{path} is damaged: its bytes differ from their SHA-256. Restore or write it again.")
    return {entry["name"]: _to_tensor(data, entry) for entry in described["index"]}, described["attributes"]


def read_attributes(path: Path) -> dict[str, Any]:
    """Read only the attributes. Raises InputError like `load_weights`, but does not notice damaged tensors."""
    return _open_weights(path)[1]["attributes"]


def load_any_weights(path: Path) -> tuple[StateDict, dict[str, Any]]:
    """Read weights and their attributes from a folder of `save_weights`, a `.safetensors` file or a PyTorch file.

    Only tensors are read from a PyTorch file (`.pth`, `.pt`, `.bin`), so nothing in it can run code. It may hold the
    tensors by name, or under the key "model" or "state_dict" of a training checkpoint.

    Raises:
        InputError: the path is missing, damaged, of another format, or holds anything but tensors.
    """
    if path.suffix == ".safetensors":
        return _load_safetensors(path), {}
    if path.suffix in PYTORCH_SUFFIXES:
        return _load_pytorch(path), {}
    if path.is_file():
        raise InputError(
            f"{path} is neither a .safetensors file, a PyTorch file ({', '.join(PYTORCH_SUFFIXES)}) nor a folder of "
            "weights. Convert it to .safetensors."
        )
    return load_weights(path)


def weights_sha256(path: Path) -> str:
    """Return the SHA-256 of a weight file, or of the tensors in a folder of weights.

    Raises InputError if the path does not exist or is a folder without weights.
    """
    if path.is_dir():
        return _open_weights(path)[1]["sha256"]
    if not path.is_file():
        raise InputError(f"{path} does not exist. Correct the path of the weights or put the file there.")
    return hash_file(path)


def save_safetensors(path: Path, state_dict: Mapping[str, Shaped[Tensor, "..."]]) -> None:
    """Write tensors for other tools, as one `.safetensors` file."""
    with atomic_output(path) as partial:
        # Clones, because the format refuses tensors that share memory.
        save_file({name: tensor.detach().cpu().clone() for name, tensor in state_dict.items()}, partial)


def match_weights(
    module_state: Mapping[str, Shaped[Tensor, "..."]],
    weights: Mapping[str, Shaped[Tensor, "..."]],
    *,
    source: Path | str,
    allow_missing: Collection[str] = (),
    allow_unused: Collection[str] = (),
) -> StateDict:
    """Select the weights of a module, after checking that none is missing, left over or of another shape.

    Args:
        module_state: the module's `state_dict()`.
        weights: name -> tensor, as read.
        source: where the weights come from, for the message.
        allow_missing: patterns such as "head.*" of names for which the module may keep its own values.
        allow_unused: patterns of weights that the module may lack.

    Returns:
        A dictionary for `module.load_state_dict(..., strict=not allow_missing)`.

    Raises:
        InputError: weights are missing, unused or of another shape; the message names the first few.
    """
    missing = [k for k in module_state if k not in weights and not _matches(k, allow_missing)]
    unused = [k for k in weights if k not in module_state and not _matches(k, allow_unused)]
    taken = {k: weights[k] for k in module_state if k in weights}
    misshapen = [
        f"{k} ({tuple(tensor.shape)}, not {tuple(module_state[k].shape)})"
        for k, tensor in taken.items()
        if tensor.shape != module_state[k].shape
    ]
    problems = {"lacks": missing, "has, but the network does not": unused, "has in another shape": misshapen}
    if found := [f"{problem}: {_some(names)}" for problem, names in problems.items() if names]:
        raise InputError(f"{source} does not fit the network. It {'; it '.join(found)}. Give matching weights.")
    return taken


def _open_weights(path: Path) -> tuple[Any, dict[str, Any]]:
    """Return the array of bytes, and its attributes, which describe it."""
    if not path.is_dir():
        raise InputError(f"{path} does not exist. Run the stage that writes the weights or correct the path.")
    try:
        # Only version 3, which is what is written here: version 2 has codecs that unpickle.
        array = zarr.open_array(LocalStore(path, read_only=True), mode="r", zarr_format=3)
        described: dict[str, Any] = dict(array.attrs)
    except Exception as error:  # anybody may have written the JSON metadata
        raise InputError(f"{path} is no Zarr array, so it holds no weights. Correct the path.") from error
    if described.get("format") != FORMAT:
        raise InputError(f"{path} holds no weights in the format {FORMAT}. Correct the path.")
    _check_description(path, array, described)
    return array, described


def _check_description(path: Path, array: Any, described: Mapping[str, Any]) -> None:
    """Raise InputError unless the index describes all the bytes, and the files are large enough to hold them."""
    try:
        end = 0
        for entry in described["index"]:
            n_bytes = math.prod(map(operator.index, entry["shape"])) * _dtype(entry).itemsize
            if entry["offset"] != end or min(entry["shape"], default=0) < 0 or not isinstance(entry["name"], str):
                raise ValueError(f"the index of {entry['name']!r} does not follow the one before")
            end += n_bytes
        if array.shape != (end,) or array.dtype != np.uint8 or array.chunks != (CHUNK_BYTES,):
            raise ValueError(f"{array.shape} bytes where the index has {end}")
        stored = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        if end > SHARD_BYTES + MAX_RATIO * stored:
            raise ValueError(f"{stored} bytes would unpack to {end}")
        if not (isinstance(described["sha256"], str) and isinstance(described["attributes"], Mapping)):
            raise TypeError("no hash or no attributes")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"{path} is damaged: {error}. Restore or write it again.") from error


def _dtype(entry: Mapping[str, Any]) -> torch.dtype:
    found = getattr(torch, str(entry["dtype"]), None)
    if not isinstance(found, torch.dtype):
        raise ValueError(f"there is no dtype {entry['dtype']!r}")
    return found


def _matches(name: str, patterns: Collection[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _some(names: list[str], limit: int = 5) -> str:
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")


def _load_safetensors(path: Path) -> StateDict:
    if not path.is_file():
        raise InputError(f"{path} does not exist. Correct the path of the weights or put the file there.")
    try:
        return load_file(path)
    except Exception as error:  # SafetensorError, OSError, and whatever torch raises for a wrong header
        raise InputError(f"{path} is no readable .safetensors file ({error}). Restore the file.") from error


def _load_pytorch(path: Path) -> StateDict:
    if not path.is_file():
        raise InputError(f"{path} does not exist. Correct the path of the weights or put the file there.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise InputError(
            f"{path} holds more than tensors, and is not opened, because it could run code. "
            "Save its state_dict alone, or convert it to .safetensors."
        ) from error
    except Exception as error:  # a damaged file breaks the reader anywhere
        raise InputError(f"{path} is no readable PyTorch file ({error}). Restore the file.") from error
    for key in CHECKPOINT_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"{path} holds no tensors by name. Save the state_dict of the model.")
    return {str(name): value for name, value in content.items()}


def _read_bytes(path: Path, array: Any) -> UInt8[np.ndarray, " n"]:
    try:
        return np.asarray(array[:])
    except Exception as error:  # codecs have their own errors
        raise InputError(f"{path} is damaged ({error}). Restore or write it again.") from error


def _to_bytes(tensor: Shaped[Tensor, "..."]) -> UInt8[np.ndarray, " n"]:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


def _to_tensor(data: UInt8[np.ndarray, " n"], entry: Mapping[str, Any]) -> Shaped[Tensor, "..."]:
    flat = torch.empty(math.prod(entry["shape"]), dtype=_dtype(entry))
    part = data[entry["offset"] : entry["offset"] + flat.nbytes]
    flat.view(torch.uint8).copy_(torch.from_numpy(part))
    return flat.reshape(entry["shape"])


def _blocks(state_dict: Mapping[str, Tensor]) -> Iterator[UInt8[np.ndarray, " n"]]:
    """Yield the bytes of all tensors in blocks of one shard, so that each shard is written once."""
    held: list[np.ndarray] = []
    room = SHARD_BYTES
    for tensor in state_dict.values():
        data = _to_bytes(tensor)
        while len(data):
            held.append(data[:room])
            data = data[room:]
            room -= len(held[-1])
            if room == 0:
                yield np.concatenate(held)
                held, room = [], SHARD_BYTES
    if held:
        yield np.concatenate(held)
