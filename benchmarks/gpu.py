"""A training step of the paper's network on a GPU, in parts, beside what it takes at least: `python -m benchmarks.gpu`.

It measures the device's own speed, a step of HRNet-W48 (416 px, bf16) in its parts, how busy the device is, its memory,
how often the host waits for it, and what a step takes without refinement, with cuDNN's choice of kernels left free, and
compiled as BESTIE_COMPILE=1 does. It ends with a table for `docs/results.md`. `torchrun --nproc-per-node gpu -m
benchmarks.gpu` does so on all GPUs, each with a batch of its own. It needs no data; `--device cpu --images 1 --side 64`
tries it out without a GPU.
"""

import argparse
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import torch
from torch import distributed

from benchmarks.full_batch import make_batch, make_outputs, pinned
from benchmarks.step_floor import Speed, floors_ms, measure_speed
from benchmarks.step_parts import TimedStep, median_ms, time_parts
from bestie.method.own_classes import OwnClasses
from bestie.params.params_yaml import Params
from bestie.params.train_bestie import TrainBestie
from bestie.project.profiles import compose
from bestie.runtime import ranks
from bestie.runtime.device import pick_device, prepare_process
from bestie.runtime.distributed import replicate
from bestie.training.loop import Clock
from bestie.training.network_model import create_network
from bestie.training.network_training import InstanceStep
from bestie.training.optimizer import create_optimizer
from tests.pretended_gpu.full_size import CLASSES

PROFILES = Path(__file__).resolve().parents[1] / "profiles"
#: The parts of a step whose work was counted together.
TOGETHER = {
    "network": ("forward", "backward"),
    "loss, with its maps": ("upsample", "targets", "loss"),
    "refined labels": ("refined labels",),
    "optimizer": ("optimizer",),
}


def read_options() -> argparse.Namespace:
    """Return the options; end with a message if there is no GPU and none was asked to be done without."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    parser.add_argument("--images", type=int, default=32, help="of a batch, on each device")
    parser.add_argument("--side", type=int, default=416, metavar="PX", help="height and width of the images")
    parser.add_argument("--profile", choices=list(CLASSES), default="voc2012")
    parser.add_argument("--repeats", type=int, default=20, help="steps of which the median counts")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no GPU is visible; --device cpu --images 1 --side 64 tries this out without one")
    return options


class Bench:
    """A network of full size, a batch, and what a step of its training takes on a device."""

    def __init__(self, options: argparse.Namespace, device: torch.device) -> None:
        self.options, self.device = options, device
        self.classes = CLASSES[options.profile]
        overrides = ["train_bestie.backbone.weights=random"]
        self.params: TrainBestie = Params(**compose(options.profile, folder=PROFILES, overrides=overrides)).train_bestie
        network, _ = create_network(self.params, num_classes=self.classes, previous=Path("none"))
        self.network = network.to(device).train()
        self.optimizer = create_optimizer(self.network, self.params.optimizer)
        self.batch = make_batch(options.images, classes=self.classes, side_px=options.side).to(device)

    def parts(self) -> dict[str, float]:
        """Return the milliseconds of each part of a step; a batch comes from the host's pinned memory."""
        batch = make_batch(self.options.images, classes=self.classes, side_px=self.options.side)
        if self.device.type == "cuda":
            batch = pinned(batch)
        step = TimedStep(network=replicate(self.network), params=self.params, device=self.device)
        return time_parts(step, self.optimizer, batch, repeats=self.options.repeats)

    def step(self, *, refinement: bool = True) -> Callable[[], None]:
        """Return a step of the training, on a batch that lies on the device."""
        changed = self.params.refinement.model_copy(update={"enabled": refinement})
        params = self.params.model_copy(update={"refinement": changed})
        step, clock = InstanceStep(network=self.network, params=params, device=self.device), Clock(step=1, steps=2)

        def run() -> None:
            losses = step(self.batch, clock)
            self.optimizer.zero_grad(set_to_none=True)
            losses["total"].backward()
            self.optimizer.step()

        return run

    def variants(self) -> Iterator[tuple[str, float]]:
        """Yield the milliseconds of a step, as it is and with one thing changed."""
        yield "as in a training", self._time(self.step())
        yield "without refinement", self._time(self.step(refinement=False))
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, True
        yield "cuDNN chooses freely", self._time(self.step())
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        torch.use_deterministic_algorithms(True, warn_only=True)
        yield "torch's own switch for determinism", self._time(self.step())
        torch.use_deterministic_algorithms(self.device.type == "cpu")
        if self.device.type == "cuda":
            self.network.compile()
            yield "compiled", self._time(self.step())

    def busy(self) -> float:
        """Return the share of the time in which the device computes, over some steps."""
        step = self.step()
        wall = self._time(step)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            step()
            torch.cuda.synchronize()
        return sum(each.self_device_time_total for each in profile.key_averages()) / 1e3 / wall

    def refinement_waits(self) -> int:
        """Return how often the host waits for the device while labels are refined."""
        step = InstanceStep(network=self.network, params=self.params, device=self.device)
        outputs, own = make_outputs(step, self.batch), OwnClasses(self.batch.own_classes)
        return waits(lambda: step.refine(outputs, self.batch, own))

    def _time(self, step: Callable[[], None]) -> float:
        return median_ms(step, self.device, repeats=self.options.repeats)


def waits(work: Callable[[], object]) -> int:
    """Return how often the host waits for the device while `work` runs, as CUDA's sync debug mode reports it."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(each.message) for each in caught)


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Join the processes of torchrun for the block, if there are several."""
    if not ranks.launched():
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    yield
    distributed.destroy_process_group()


def rows(parts: dict[str, float], floors: dict[str, float]) -> list[tuple[str, str, str, str]]:
    """Return what each part took, its share of the step, and what it takes at least, as the rows of a table."""
    whole = sum(parts.values())

    def row(title: str, names: Iterable[str], floor: float | None = None) -> tuple[str, str, str, str]:
        value = sum(parts.get(name, 0.0) for name in names)
        return title, f"{value:.1f}", f"{value / whole:.0%}", "" if floor is None else f"{floor:.1f}"

    found = [row("load", ["load"])]
    for group, names in TOGETHER.items():
        found.append(row(group, names, floors[group]))
        if len(names) > 1:
            found += [row(f"... {name}", [name]) for name in names]
    return [*found, row("statistics", ["statistics"]), row("whole step", parts, sum(floors.values()))]


def markdown(header: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    """Return a table in Markdown."""
    return "\n".join(f"| {' | '.join(each)} |" for each in (header, ("---",) * len(header), *lines))


def describe(options: argparse.Namespace, device: torch.device, speed: Speed) -> str:
    """Return what was measured, where and when."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "a CPU"
    batch = f"{options.images} images of {options.side} px, bf16"
    several = f", {ranks.count()} devices" if ranks.count() > 1 else ""
    return (
        f"{date.today().isoformat()}: `{options.profile}`, {batch}, on {name}{several}, torch {torch.__version__}; "
        f"it reaches {speed.flops / 1e12:.1f} TFLOP/s and {speed.bytes / 1e9:.0f} GB/s."
    )


def main() -> None:
    """Measure, and print the tables."""
    options = read_options()
    prepare_process(0)
    device = pick_device(options.device)
    with joined(device):
        bench = Bench(options, device)
        on_gpu = device.type == "cuda"
        speed = measure_speed(device) if on_gpu else measure_speed(device, side=512, megabytes=64)
        parts = bench.parts()
        if ranks.rank() > 0:
            return
        print(describe(options, device, speed))
        floors = floors_ms(options.profile, bench.network, speed, images=options.images, side_px=options.side)
        whole = sum(parts.values())
        print(f"\n{markdown(('part of a step', 'ms', 'share', 'at least, ms'), rows(parts, floors))}")
        facts = [("images a second", f"{1e3 * options.images * ranks.count() / whole:.0f}")]
        if on_gpu:
            facts += [
                ("memory, GiB", f"{torch.cuda.max_memory_allocated() / 2**30:.1f}"),
                ("the device computes", f"{bench.busy():.0%} of the time"),
                ("waits for the device, whole step", str(waits(bench.step()))),
                ("waits for the device, refined labels", str(bench.refinement_waits())),
            ]
        if ranks.count() == 1:
            facts += [(f"a step, ms: {name}", f"{value:.1f}") for name, value in bench.variants()]
        print(f"\n{markdown(('of a step', ''), facts)}")


if __name__ == "__main__":
    sys.exit(main())
