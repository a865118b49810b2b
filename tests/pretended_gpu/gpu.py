"""A GPU that is none: tensors that say `cuda:0`, follow CUDA's rules of devices, and compute on the CPU.

Inside `with PretendedGpu() as gpu:` code that asks for "cuda" runs forward and backward with real values, which can be
compared with the CPU's. A tensor of the CPU beside one of the GPU is an error, as on CUDA, unless it is an index or a
number. `gpu` records what a GPU would make of the operators:

- `waits`: what makes the host wait for the device, by kind and line of code;
- `queued`: copies to the device that the host does not wait for;
- `no_kernel`: operators without a CUDA kernel in this build of torch; empty in a build without CUDA;
- `unordered`: sums of floats that CUDA adds up in any order.
"""

import sys
from collections import Counter
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

ROOT = f"{Path(__file__).resolve().parents[2]}/"
CUDA = torch.device("cuda:0")
#: Operators that read a number of the device, or whose result has a size that depends on values.
WAITING = {
    "_local_scalar_dense",
    "_unique2",
    "bincount",
    "equal",
    "is_nonzero",
    "masked_select",
    "nms",
    "nonzero",
    "repeat_interleave",
    "unique_consecutive",
    "unique_dim",
}
#: Operators that add floats by atomic additions on CUDA, unless torch's switch for deterministic algorithms is on.
ATOMIC = {
    "_adaptive_avg_pool2d_backward",
    "_roi_align_backward",
    "grid_sampler_2d_backward",
    "index_add",
    "index_add_",
    "scatter_add",
    "scatter_add_",
    "upsample_bicubic2d_backward",
    "upsample_bilinear2d_backward",
}
#: Operators that give a tensor another form, or memory without values.
NO_KERNEL_NEEDED = {"lift_fresh", "lift_fresh_copy", "_local_scalar_dense", "is_same_size", "set_", "resize_"}
COPYING_TO_THE_HOST = ("cpu", "numpy", "tolist", "__array__")
MAKING_FROM_VALUES = ("tensor", "as_tensor", "asarray", "from_numpy", "scalar_tensor", "new_tensor")
INDEXING = ("__getitem__", "__setitem__", "index_put", "index_put_")
ATTRIBUTES = ("__get__", "__set__", "set_", "backward", "_make_subclass", "_is_view")


class OnGpu(Tensor):
    """A tensor of the CPU that takes part as one of the GPU."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return PretendedGpu.active.call(func, args, kwargs or {})


class _Stream:
    """The queue of a GPU, which no graph is being captured from."""

    def is_capturing(self) -> bool:
        return False


class _Functions(TorchFunctionMode):
    """Passes on every function of torch, also those that make tensors from none."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return PretendedGpu.active.call(func, args, kwargs or {})


class _Operators(TorchDispatchMode):
    """Shows every operator below autograd, those of the backward pass among them."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        PretendedGpu.active.note(func, args, kwargs or {})
        return func(*args, **(kwargs or {}))


class PretendedGpu:
    """See the module. One at a time."""

    active: "PretendedGpu"

    def __init__(self) -> None:
        self.waits: Counter[str] = Counter()
        self.queued: Counter[str] = Counter()
        self.no_kernel: Counter[str] = Counter()
        self.unordered: Counter[str] = Counter()
        self._depth = 0  # of calls that compute on the GPU

    def __enter__(self) -> "PretendedGpu":
        PretendedGpu.active = self
        self._stack = ExitStack()
        enter_autocast = torch.autocast.__init__

        def on_cpu(context: Any, device_type: str, *args: Any, **kwargs: Any) -> None:
            enter_autocast(context, "cpu" if device_type == "cuda" else device_type, *args, **kwargs)

        for target, value in {
            "torch.cuda.is_available": lambda: True,
            "torch.cuda.device_count": lambda: 1,
            "torch.cuda.current_device": lambda: 0,
            "torch.accelerator.current_stream": lambda: _Stream(),
            "torch.cuda.get_rng_state_all": list,
            "torch.cuda.manual_seed_all": lambda _seed: None,
            "torch.autocast.__init__": on_cpu,
        }.items():
            self._stack.enter_context(patch(target, value))
        before = torch.__future__.get_overwrite_module_params_on_conversion()
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        self._stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, before)
        self._stack.callback(torch.use_deterministic_algorithms, torch.are_deterministic_algorithms_enabled())
        self._stack.enter_context(_Operators())
        self._stack.enter_context(_Functions())
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def forget(self) -> None:
        """Forget what was recorded so far."""
        for each in (self.waits, self.queued, self.no_kernel, self.unordered):
            each.clear()

    # Functions of torch, above autograd: which device a tensor is on.

    def call(self, func: Any, args: tuple, kwargs: dict) -> Any:
        """Run a function of torch as if some of its tensors were on a GPU."""
        name = getattr(func, "__name__", str(func))
        leaves = tree_leaves((args, kwargs))
        tensors = [each for each in leaves if isinstance(each, Tensor)]
        on_gpu = any(isinstance(each, OnGpu) for each in tensors)
        wanted = _device_asked_for(name, args, kwargs, leaves)
        if name == "__get__" and on_gpu:
            answers = {"device": CUDA, "is_cuda": True, "is_cpu": False}
            attribute = getattr(func.__self__, "__name__", "")
            if attribute in answers:
                return answers[attribute]
        if name == "get_device" and on_gpu:
            return 0
        if name == "pin_memory":
            return args[0]
        if name in ("_parse_to", "_has_compatible_shallow_copy_type") or (not on_gpu and wanted != "cuda"):
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        if name == "__reduce_ex__":
            return self._without_wrapping(func, args, kwargs)
        if name in COPYING_TO_THE_HOST:
            if name in ("numpy", "__array__"):
                raise TypeError(f"can't convert cuda:0 device type tensor to numpy, at {_place()}")
            self.waits[f"{name}  {_place()}"] += 1
            return self._without_wrapping(func, args, kwargs)
        if name in ("to", "_to", "cuda", "copy_"):
            return self._copy(name, func, args, kwargs, wanted)
        if name in MAKING_FROM_VALUES:
            self.waits[f"copy to the device by {name}  {_place()}"] += 1
        if on_gpu:
            self._check_devices(name, args, tensors)
        return self._compute(func, args, kwargs)

    def _check_devices(self, name: str, args: tuple, tensors: list[Tensor]) -> None:
        """Refuse tensors of the CPU with dimensions; as an index they are allowed, and copied."""
        foreign = [each for each in tensors if not isinstance(each, OnGpu) and each.dim() > 0]
        if name in INDEXING:
            index = args[1] if len(args) > 1 and isinstance(args[1], tuple) else args[1:2]
            foreign += [each for each in index if isinstance(each, list)]
            if foreign:
                self.waits[f"copy of an index to the device  {_place()}"] += len(foreign)
        elif foreign and name not in ATTRIBUTES:
            shapes = [tuple(each.shape) for each in foreign]
            raise RuntimeError(f"{name}: tensors of shape {shapes} on cpu, others on cuda:0, at {_place()}")

    def _copy(self, name: str, func: Any, args: tuple, kwargs: dict, wanted: str | None) -> Any:
        source = args[1] if name == "copy_" else args[0]
        from_gpu = isinstance(source, OnGpu)
        if name == "copy_":
            to_gpu = isinstance(args[0], OnGpu)
        else:
            other = next((each for each in args[1:] if isinstance(each, Tensor)), source)
            # Gradient clipping groups tensors by the device that they really are on.
            same = wanted is None or any(file.endswith("/clip_grad.py") for file in _files())
            to_gpu = wanted == "cuda" or (same and isinstance(other, OnGpu))
        if from_gpu and not to_gpu:
            self.waits[f"copy to the host  {_place()}"] += 1
        elif to_gpu and not from_gpu:
            record = self.queued if kwargs.get("non_blocking") else self.waits
            record[f"copy to the device  {_place()}"] += 1
        result = self._without_wrapping(func, args, kwargs)
        return result.as_subclass(OnGpu) if to_gpu and not isinstance(result, OnGpu) else result

    def _without_wrapping(self, func: Any, args: tuple, kwargs: dict) -> Any:
        """Run a function that only copies; a tensor as its result is on the CPU."""
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*tree_map(_on_cpu, args), **tree_map(_on_cpu, kwargs))
            if func is Tensor.copy_:
                return args[0]
            return result.as_subclass(Tensor) if isinstance(result, Tensor) else result

    def _compute(self, func: Any, args: tuple, kwargs: dict) -> Any:
        """Run a function; tensors in its result are on the GPU."""
        with torch._C.DisableTorchFunctionSubclass():
            self._depth += 1
            try:
                result = func(*tree_map(_on_cpu, args), **tree_map(_on_cpu, kwargs))
            finally:
                self._depth -= 1
            return tree_map(_wrapped, result)

    # Operators, below autograd: what CUDA would do.

    def note(self, func: Any, args: tuple, kwargs: dict) -> None:
        """Record an operator that computes on the GPU."""
        if func.namespace == "prim" or not (self._depth or torch._C._current_graph_task_id() != -1):
            return
        name = func.overloadpacket.__name__
        if name in WAITING and kwargs.get("output_size") is None:
            self.waits[f"{name}  {_place()}"] += 1
        if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
            masks = [each for each in args[1] if each is not None and each.dtype in (torch.bool, torch.uint8)]
            if masks:
                self.waits[f"mask as index  {_place()}"] += len(masks)
        if name in ATOMIC and args[0].is_floating_point():
            self.unordered[f"{name}  {_place()}"] += 1
        if torch.version.cuda and name not in NO_KERNEL_NEEDED and not _has_kernel(func.name()):
            self.no_kernel[f"{func.name()}  {_place()}"] += 1


def _device_asked_for(name: str, args: tuple, kwargs: dict, leaves: list) -> str | None:
    """Return the type of the device that a call names, or None."""
    if name == "cuda":
        return "cuda"
    device = kwargs.get("device") or next((each for each in leaves if isinstance(each, torch.device)), None)
    if device is None and name in ("to", "_to"):
        device = next((each for each in args if isinstance(each, str)), None)
    return None if device is None else torch.device(device).type


def _on_cpu(value: Any) -> Any:
    if isinstance(value, torch.device) and value.type == "cuda":
        return torch.device("cpu")
    return "cpu" if isinstance(value, str) and value.startswith("cuda") else value


def _wrapped(value: Any) -> Any:
    return value.as_subclass(OnGpu) if isinstance(value, Tensor) and not isinstance(value, OnGpu) else value


@cache
def _has_kernel(operator: str) -> bool:
    return torch._C._dispatch_has_computed_kernel_for_dispatch_key(operator, "CUDA")


def _files() -> list[str]:
    frame, files = sys._getframe(1), []
    while frame is not None and len(files) < 8:
        files.append(frame.f_code.co_filename)
        frame = frame.f_back
    return files


def _place() -> str:
    """Return the line of the package that runs, with the line of the library that it called."""
    frame, library = sys._getframe(1), ""
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(f"{ROOT}bestie/"):
            return f"{file.removeprefix(ROOT)}:{frame.f_lineno}{library}"
        if not library and ("/torchvision/" in file or "/timm/" in file):
            library = f" <- {'/'.join(Path(file).parts[-2:])}:{frame.f_lineno}"
        frame = frame.f_back
    return f"elsewhere{library}"
