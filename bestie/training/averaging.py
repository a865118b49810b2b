"""The running mean of a model's weights, which is often better than the weights of the last step.

This is the averaging of Mean Teacher (Tarvainen and Valpola, NeurIPS 2017): each step moves the mean towards the new
weights a little, so it forgets single batches, and wrong labels of single images with them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Tensors = tuple[Tensor, ...] | list[Tensor]


class RunningMean:
    """The exponential mean of a module's weights and batch statistics.

    Until enough steps have been made, it is the plain mean of all of them. Otherwise the first weights would count
    most: after 236 steps at 0.99, still a tenth.

    Args:
        module: the model that is trained.
        decay: what a step leaves of the mean, below 1: with 0.99, about the last hundred steps count.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._module, self._decay = module, decay
        self._mean = AveragedModel(module, multi_avg_fn=self._average, use_buffers=True)

    def update(self) -> None:
        """Move the mean towards the module's weights; the first time, take them as they are."""
        self._mean.update_parameters(self._module)

    def _average(self, mean: Tensors, weights: Tensors, steps: Tensor | int) -> None:
        decay = min(self._decay, float(steps / (steps + 1)))
        get_ema_multi_avg_fn(decay)(mean, weights, steps)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the module the mean, and its own weights back at the end."""
        own = {name: value.clone() for name, value in self._module.state_dict().items()}
        self.apply()
        try:
            yield
        finally:
            self._module.load_state_dict(own)

    def apply(self) -> None:
        """Give the module the mean for good."""
        self._module.load_state_dict(self._mean.module.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return self._mean.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the state of a checkpoint."""
        self._mean.load_state_dict(state)
