"""Where the time of a training step goes: its parts on the device's own clock."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from bestie.method.network import Outputs
from bestie.method.own_classes import OwnClasses
from bestie.method.refinement import Refined
from bestie.method.targets import Targets
from bestie.training.loop import Clock
from bestie.training.network_training import InstanceStep
from bestie.training.samples import InstanceBatch

#: In the order of a step. "load" copies the batch to the device; decoding is not part of a step.
PARTS = (
    "load",
    "forward",
    "upsample",
    "targets",
    "refined labels",
    "loss",
    "statistics",
    "backward",
    "optimizer",
)


class Stopwatch:
    """Marks on the timeline of a device: events of a GPU, which nothing waits for until they are read."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._marks: list[tuple[str, Any]] = []

    def mark(self, name: str) -> None:
        """Mark the end of a part."""
        if self._on_gpu:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._marks.append((name, event))
        else:
            self._marks.append((name, time.perf_counter()))

    def read(self) -> dict[str, float]:
        """Return the milliseconds between each mark and the one before, by its name, and forget all marks."""
        if self._on_gpu:
            torch.cuda.synchronize()
        marks, self._marks = self._marks, []
        return {
            name: before.elapsed_time(now) if self._on_gpu else 1e3 * (now - before)
            for (_, before), (name, now) in pairwise(marks)
        }


class TimedStep(InstanceStep):
    """A step of the training that marks the end of each of its parts on a stopwatch; see `marks_on`."""

    stopwatch: Stopwatch

    @contextmanager
    def marks_on(self, stopwatch: Stopwatch) -> Iterator[None]:
        """Mark on this stopwatch in the block."""
        self.stopwatch = stopwatch
        begin = self.network.register_forward_pre_hook(lambda *_: stopwatch.mark("load"))
        end = self.network.register_forward_hook(lambda *_: stopwatch.mark("forward"))
        yield
        begin.remove()
        end.remove()

    def resize(self, maps: Outputs, batch: InstanceBatch, own: OwnClasses) -> Outputs:
        """As in the training."""
        outputs = super().resize(maps, batch, own)
        self.stopwatch.mark("upsample")
        return outputs

    def render(self, batch: InstanceBatch, own: OwnClasses) -> Targets:
        """As in the training."""
        targets = super().render(batch, own)
        self.stopwatch.mark("targets")
        return targets

    def refine(self, outputs: Outputs, batch: InstanceBatch, own: OwnClasses) -> Refined:
        """As in the training."""
        refined = super().refine(outputs, batch, own)
        self.stopwatch.mark("refined labels")
        return refined

    def health(
        self, outputs: Outputs, batch: InstanceBatch, own: OwnClasses, refined: Refined | None
    ) -> dict[str, Tensor]:
        """As in the training."""
        self.stopwatch.mark("loss")
        values = super().health(outputs, batch, own, refined)
        self.stopwatch.mark("statistics")
        return values


def time_parts(
    step: TimedStep, optimizer: torch.optim.Optimizer, batch: InstanceBatch, *, repeats: int
) -> dict[str, float]:
    """Return the median milliseconds of each part of a step, after three steps that do not count."""
    stopwatch = Stopwatch(step.device)
    clock, runs = Clock(step=1, steps=2), []
    with step.marks_on(stopwatch):
        for _ in range(3 + repeats):
            stopwatch.mark("")
            total = step(batch, clock)["total"]
            optimizer.zero_grad(set_to_none=True)
            total.backward()
            stopwatch.mark("backward")
            optimizer.step()
            stopwatch.mark("optimizer")
            runs.append(stopwatch.read())
    return medians(runs[3:])


def medians(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the median of each part over some runs, in the order of `PARTS`."""
    return {part: statistics.median(run[part] for run in runs) for part in PARTS if part in runs[0]}


def median_ms(work: Callable[[], object], device: torch.device, *, repeats: int) -> float:
    """Return the median time of some runs in milliseconds, after three that do not count."""
    stopwatch, times = Stopwatch(device), []
    for _ in range(3 + repeats):
        stopwatch.mark("")
        work()
        stopwatch.mark("work")
        times.append(stopwatch.read()["work"])
    return statistics.median(times[3:])
