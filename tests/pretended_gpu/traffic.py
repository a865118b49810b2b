"""What a step does on a GPU, counted without one: kernels, floating-point operations, bytes moved, bytes kept.

Inside `with Traffic() as traffic:` every operator counts once, with the bytes that it reads and writes, for the phase
that `traffic.phase` names. Tensors may be fake (of a shape, without values), so a step of full size is counted on any
machine.
"""

from collections import defaultdict
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

#: Operators that start no kernel.
VIEWS = {
    "_reshape_alias",
    "_unsafe_view",
    "alias",
    "as_strided",
    "chunk",
    "detach",
    "diagonal",
    "empty",
    "empty_like",
    "empty_strided",
    "expand",
    "lift_fresh",
    "new_empty",
    "new_empty_strided",
    "permute",
    "select",
    "slice",
    "split",
    "split_with_sizes",
    "squeeze",
    "t",
    "transpose",
    "unbind",
    "unfold",
    "unsqueeze",
    "view",
}
#: Operators that read as much as they write, however large what they read from.
PICKING = {"gather", "index", "index_select", "nll_loss2d_forward"}
#: Operators that read next to nothing: they take the form of their argument.
MAKING = {
    "empty_like",
    "full_like",
    "new_full",
    "new_ones",
    "new_zeros",
    "nll_loss2d_backward",
    "ones_like",
    "zeros_like",
}


@dataclass
class Work:
    """Kernels, floating-point operations and bytes of a phase."""

    kernels: int = 0
    flops: float = 0.0
    moved: float = 0.0


class Traffic(TorchDispatchMode):
    """See the module. `work` holds the `Work` of each phase, and `kept` the bytes that wait for the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.phase = ""
        self.work: dict[str, Work] = defaultdict(Work)
        self._kept: dict[int, Tensor] = {}

    @property
    def kept(self) -> int:
        """Bytes of all tensors that the forward pass keeps for the backward pass, without weights."""
        return sum(each.untyped_storage().nbytes() for each in self._kept.values())

    def keep(self, tensor: Tensor) -> Tensor:
        """Count a tensor that is kept; a hook for `torch.autograd.graph.saved_tensors_hooks`."""
        if not isinstance(tensor, nn.Parameter):
            self._kept.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = func.overloadpacket.__name__
        if name in VIEWS or func.namespace == "prim":
            return result
        work = self.work[self.phase]
        work.kernels += 1
        read = 0 if name in MAKING else _bytes(result) if name in PICKING else _bytes((args, kwargs))
        work.moved += read + _bytes(result)
        if func.overloadpacket in flop_registry:
            work.flops += flop_registry[func.overloadpacket](*args, **kwargs, out_val=result)
        return result


def _bytes(values: Any) -> int:
    """Return the bytes of all tensors, those of expanded dimensions once."""
    return sum(
        prod(size for size, stride in zip(each.shape, each.stride(), strict=True) if stride) * each.element_size()
        for each in tree_leaves(values)
        if isinstance(each, torch.Tensor)
    )
