"""The training loop: epochs of batches, checkpoints, history. The caller says what a step computes."""

import math
import signal
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset

from bestie.errors import InputError
from bestie.records import ImageRecord
from bestie.runtime import distributed, ranks
from bestie.runtime.progress import Progress
from bestie.runtime.signals import StoppedError, StopRequest, deferred
from bestie.training.averaging import RunningMean
from bestie.training.checkpoints import Checkpoints


@dataclass
class Clock:
    """The progress of a training: completed epochs, completed steps, and all its steps."""

    epoch: int = 0
    step: int = 0
    steps: int = 1

    @property
    def fraction(self) -> float:
        """The completed part of the training, from 0 to 1."""
        return self.step / self.steps


Step = Callable[[Any, Clock], dict[str, Tensor]]
EpochEnd = Callable[[int], Mapping[str, float]]


@runtime_checkable
class Samples(Protocol):
    """The training images of one model, one sample per image."""

    @property
    def records(self) -> Sequence[ImageRecord]:
        """The images, in the order of the samples."""

    def __call__(self, index: int, rng: np.random.Generator) -> Any:
        """Return the sample of one image, augmented by random choices from `rng`."""

    def collate(self, samples: list) -> Any:
        """Return a batch made of samples."""


def count_steps(count: int, batch_size: int) -> int:
    """Return the number of full batches in an epoch of `count` samples, at least 1."""
    return max(1, count // batch_size)


def epoch_batches(count: int, *, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Return the batches of one epoch: a random permutation of 0..count - 1, cut into full batches (at least one)."""
    order = np.random.default_rng((seed, epoch)).permutation(count).tolist()
    steps = count_steps(count, batch_size)
    return [order[i * batch_size : (i + 1) * batch_size] for i in range(steps)]


class EpochSamples(Dataset):
    """The samples of all epochs by (epoch, index), on which, with the seed, every random choice depends."""

    def __init__(self, samples: Callable[[int, np.random.Generator], Any], *, seed: int) -> None:
        self._samples, self._seed = samples, seed

    def __getitem__(self, place: tuple[int, int]) -> Any:
        epoch, index = place
        return self._samples(index, np.random.default_rng((self._seed, epoch, index)))


@dataclass(kw_only=True)
class Loop:
    """The training of `module` on `count` samples. If several processes train, each takes its share of every batch.

    Args:
        samples: (index, generator) -> one augmented sample.
        collate: list of samples -> batch.
        step: (batch, clock) -> losses. `total` is minimized; the history has the mean of each over the epoch.
        count: the number of samples.
        workers: processes that load data; 0 loads it in this process.
        clip_norm: the largest norm of all gradients; None does not clip them.
        epoch_end: epoch (from 1) -> further values for the history; the module then has the mean of its weights.
        epoch_row: takes each row of the history as soon as it is known, in the first process.
        weight_average: decay of the mean of the weights that the module has in the end; 0: it keeps the last ones.
        remedy: what to try if the loss is not finite, for the message.
    """

    module: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: LambdaLR
    samples: Callable[[int, np.random.Generator], Any]
    collate: Callable[[list], Any]
    step: Step
    count: int
    epochs: int
    batch_size: int
    seed: int
    description: str
    checkpoints: Checkpoints | None = None
    epoch_end: EpochEnd | None = None
    epoch_row: Callable[[Mapping[str, float]], None] | None = None
    workers: int = 0
    pin_memory: bool = False
    as_json: bool = False
    clip_norm: float | None = 10.0
    weight_average: float = 0.0
    remedy: str = "lower the learning rate or use precision: fp32"
    history: list[dict[str, float]] = field(default_factory=list)
    _mean: RunningMean | None = field(default=None, init=False)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one epoch."""
        return count_steps(self.count, self.batch_size)

    def run(self) -> list[dict[str, float]]:
        """Train to the end, from the last checkpoint if there is one, and return the history, one row per epoch.

        On SIGTERM and Ctrl-C the current step is completed and a checkpoint is written.

        Raises:
            InputError: there are no samples, the processes cannot share a batch equally, or a loss is not finite.
            StoppedError: a signal stopped the training.
        """
        if self.count == 0:
            raise InputError(f"{self.description}: there are no training images; check the image list")
        self._check_shares()
        if self.weight_average:
            self._mean = RunningMean(self.module, self.weight_average)
        clock = Clock(steps=self.epochs * self.steps_per_epoch)
        sums = self._resume(clock)
        progress = Progress(self.description, clock.steps, done=clock.step, as_json=self.as_json)
        batches = iter(self._batches(clock.step))
        with deferred() as request:
            while clock.epoch < self.epochs:
                self._run_epoch(clock, batches, sums, progress, request)
        progress.close()
        if self._mean:
            self._mean.apply()
        return self.history

    def _run_epoch(
        self, clock: Clock, batches: Iterator[Any], sums: dict[str, float], progress: Progress, request: StopRequest
    ) -> None:
        done = clock.step - clock.epoch * self.steps_per_epoch
        self.module.train()
        for batch in islice(batches, self.steps_per_epoch - done):
            losses = self._optimize(batch, clock)
            for name, value in losses.items():
                sums[name] += value
            clock.step += 1
            progress.advance(loss=losses["total"], epoch=clock.epoch + 1)
            self._save_if(request.came(), clock, sums)
            request.check()
        clock.epoch += 1
        row = {"epoch": clock.epoch, **{name: value / self.steps_per_epoch for name, value in sums.items()}}
        if self.epoch_end and ranks.rank() == 0:
            row |= self._end_epoch(self.epoch_end, clock, sums)
        self.history.append(row)
        if self.epoch_row:
            self.epoch_row(row)
        sums.clear()
        if clock.epoch < self.epochs:
            self._save_if(request.came(), clock, sums)
            request.check()

    def _end_epoch(self, end: EpochEnd, clock: Clock, sums: Mapping[str, float]) -> Mapping[str, float]:
        """Return what `end` adds to the history. If a signal stops it, the epoch's last step leaves a checkpoint."""
        self.module.eval()
        try:
            with self._mean.applied() if self._mean else nullcontext():
                return end(clock.epoch)
        except StoppedError:
            clock.epoch -= 1
            self._save_if(True, clock, sums)
            raise

    def _batches(self, done: int) -> DataLoader:
        """Return all batches after the first `done` steps: one loader, whose processes live as long as the training."""
        return DataLoader(
            EpochSamples(self.samples, seed=self.seed),
            batch_sampler=self._shares(done),
            collate_fn=self.collate,
            num_workers=self.workers,
            pin_memory=self.pin_memory,
            worker_init_fn=_ignore_interrupts,
            # Without its own generator, the loader would draw from the global one and a resumed run would differ.
            generator=torch.Generator().manual_seed(self.seed),
        )

    def _shares(self, done: int) -> Iterator[list[tuple[int, int]]]:
        """Yield (epoch, index) of the samples that this process has of each batch after the first `done` steps."""
        first, skipped = divmod(done, self.steps_per_epoch)
        for epoch in range(first, self.epochs):
            batches = epoch_batches(self.count, batch_size=self.batch_size, seed=self.seed, epoch=epoch)
            for batch in batches[skipped if epoch == first else 0 :]:
                yield [(epoch, index) for index in batch[ranks.rank() :: ranks.count()]]

    def _check_shares(self) -> None:
        images = min(self.count, self.batch_size)
        if images % ranks.count():
            raise InputError(
                f"{self.description}: {ranks.count()} processes cannot share a batch of {images} images; "
                "set BESTIE_PROCESSES to a number that divides it"
            )

    def _optimize(self, batch: Any, clock: Clock) -> dict[str, float]:
        if ranks.launched():  # random choices on the device: different in each process, the same in a resumed run
            own = np.random.default_rng((self.seed, clock.step, ranks.rank()))
            torch.manual_seed(int(own.integers(2**63)))
        losses = self.step(batch, clock)
        means = distributed.mean(torch.stack([value.detach() for value in losses.values()]))
        self.optimizer.zero_grad(set_to_none=True)
        losses["total"].backward()
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.module.parameters(), self.clip_norm)
        # Read only now: a GPU works on the gradients while the host waits for these numbers.
        values = dict(zip(losses, means.tolist(), strict=True))
        if not math.isfinite(values["total"]):
            parts = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
            raise InputError(
                f"{self.description}: the loss is not finite at step {clock.step + 1} ({parts}); {self.remedy}"
            )
        self.optimizer.step()
        self.schedule.step()
        if self._mean:
            self._mean.update()
        return values

    def _save_if(self, wanted: bool, clock: Clock, sums: Mapping[str, float]) -> None:
        """Write a checkpoint if one is `wanted` or due."""
        if self.checkpoints is None or not (wanted or self.checkpoints.due()):
            return
        self.checkpoints.save(
            {
                "module": self.module.state_dict(),
                "mean": self._mean.state_dict() if self._mean else {},
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
                "clock": [clock.epoch, clock.step],
                "sums": dict(sums),
                "history": self.history,
                "random": [torch.get_rng_state(), *torch.cuda.get_rng_state_all()],
            }
        )

    def _resume(self, clock: Clock) -> dict[str, float]:
        sums: dict[str, float] = defaultdict(float)
        state = self.checkpoints.load() if self.checkpoints else None
        if state is None:
            return sums
        self.module.load_state_dict(state["module"])
        if self._mean:
            self._mean.load_state_dict(state["mean"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        clock.epoch, clock.step = state["clock"]
        if ranks.rank() == 0:
            print(f"{self.description}: continues at step {clock.step} of {clock.steps}", file=sys.stderr)
        self.history.extend(state["history"])
        on_cpu, *on_gpus = state["random"]
        torch.set_rng_state(on_cpu)
        for index, generator in enumerate(on_gpus[: torch.cuda.device_count()]):  # there may be fewer GPUs than before
            torch.cuda.set_rng_state(generator, index)
        sums.update(state["sums"])
        return sums


def _ignore_interrupts(_worker: int) -> None:
    """Ignore Ctrl-C in a process that loads data: the training ends it after writing its checkpoint."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
