"""A training step of the paper's network on a GPU, and what refinement adds: `python -m benchmarks.gpu`.

It times a step of HRNet-W48 (416 px, bf16, channels-last) with and without refinement, and counts how often the host
waits for the device. `--compile` compiles the network as BESTIE_COMPILE=1 does. This needs a CUDA device and no data.
"""

import argparse
import statistics
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.common import line, start
from benchmarks.scenes import batch_of_scenes, draw_scene, labels_of_scenes
from bestie.method.network import Outputs
from bestie.method.own_classes import OwnClasses
from bestie.params.train_bestie import TrainBestie
from bestie.project.profiles import compose
from bestie.runtime.device import prepare_process
from bestie.training.loop import Clock
from bestie.training.network_model import create_network
from bestie.training.network_training import InstanceStep
from bestie.training.optimizer import create_optimizer
from bestie.training.samples import InstanceBatch

SIDE_PX, CLASSES = 416, 20


def make_batch(images: int) -> InstanceBatch:
    """Return drawn images with three objects of two classes each."""
    rng = np.random.default_rng(0)
    scenes = []
    for _ in range(images):
        classes = rng.choice(np.arange(1, CLASSES + 1), 2, replace=False).tolist()
        scenes.append(draw_scene(rng, height=SIDE_PX, width=SIDE_PX, classes=classes, objects=3))
    return batch_of_scenes(rng, scenes, labels_of_scenes(scenes, num_classes=CLASSES))


def gpu_ms(work: Callable[[], object], *, repeats: int) -> float:
    """Return the median time of some runs in milliseconds, by the device's clock, after three that do not count."""
    for _ in range(3):
        work()
    times = []
    for _ in range(repeats):
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        work()
        last.record()
        torch.cuda.synchronize()
        times.append(first.elapsed_time(last))
    return statistics.median(times)


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


def main() -> None:
    """Time steps with and without refinement and refinement alone, and count the waits."""
    if not torch.cuda.is_available():
        raise SystemExit("no GPU is visible; this benchmark needs one")
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--compile", action="store_true")
    given, rest = parser.parse_known_args()
    sys.argv[1:] = rest
    options = start(f"A training step: HRNet-W48, {given.images} images of {SIDE_PX} px, bf16", repeats=20)
    line("device", torch.cuda.get_device_name())
    prepare_process(0)
    device = torch.device("cuda")
    values = compose("voc2012", folder=_profiles(), overrides=["train_bestie.backbone.weights=random"])
    params = TrainBestie.model_validate(values["train_bestie"])
    network, _ = create_network(params, num_classes=CLASSES, previous=None)
    network.to(device).to(memory_format=torch.channels_last).train()
    if given.compile:
        network.compile()
    optimizer = create_optimizer(network, params.optimizer)
    batch = make_batch(given.images).to(device)
    clock = Clock(step=1, steps=2)

    def step_with(refinement: bool) -> Callable[[], None]:
        changed = params.model_copy(update={"refinement": params.refinement.model_copy(update={"enabled": refinement})})
        step = InstanceStep(network=network, params=changed, device=device)

        def run() -> None:
            losses = step(batch, clock)
            optimizer.zero_grad(set_to_none=True)
            losses["total"].backward()
            optimizer.step()

        return run

    with_it, without = (gpu_ms(step_with(each), repeats=options.repeats) for each in (True, False))
    step = InstanceStep(network=network, params=params, device=device)
    outputs = make_outputs(step, batch)
    own = OwnClasses(batch.own_classes)
    alone = gpu_ms(lambda: step.refine(outputs, batch, own), repeats=options.repeats)
    line("step with refinement", f"{with_it:.1f} ms, {1e3 * given.images / with_it:.0f} images a second")
    line("step without", f"{without:.1f} ms")
    line("refined labels alone", f"{alone:.1f} ms, {100 * alone / without:.1f} % of a step")
    line("waits for the device, refined labels", str(waits(lambda: step.refine(outputs, batch, own))))
    line("waits for the device, whole step", str(waits(step_with(True))))
    line("memory", f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
    line("wanted, refined labels", "at most 5 % of a step")


def make_outputs(step: InstanceStep, batch: InstanceBatch) -> Outputs:
    """Return maps like those of a trained network: the maps of the labels with some noise."""
    targets = step.render(batch, OwnClasses(batch.own_classes))
    center = (targets.center + 0.05 * torch.rand_like(targets.center)).clamp(0, 1)
    return Outputs(center, center, targets.offset + torch.randn_like(targets.offset))


def _profiles() -> Path:
    return Path(__file__).resolve().parents[1] / "profiles"


if __name__ == "__main__":
    main()
