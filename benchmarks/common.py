"""Shared parts of the benchmarks: options, the median of repeats, and a description of the machine."""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from bestie.runtime.device import prepare_process


@dataclass(frozen=True)
class Timing:
    """Wall time and processor time (of all threads of this process) of some repeats, in seconds."""

    seconds: tuple[float, ...]
    cpu_seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the repeats."""
        return statistics.median(self.seconds)

    def per(self, count: int) -> str:
        """Return the milliseconds per item as text: median, range of the repeats, and processor time."""
        low, middle, high = (1e3 * each / count for each in (min(self.seconds), self.median, max(self.seconds)))
        cpu = 1e3 * statistics.median(self.cpu_seconds) / count
        return f"{middle:.2f} ms ({low:.2f} to {high:.2f} in {len(self.seconds)} repeats; CPU {cpu:.2f} ms)"


def measure(work: Callable[[], object], *, repeats: int, warm_up: int = 1) -> Timing:
    """Time `work` `repeats` times, after `warm_up` runs that do not count."""
    for _ in range(warm_up):
        work()
    seconds, cpu_seconds = [], []
    for _ in range(repeats):
        began, cpu_began = time.perf_counter(), time.process_time()
        work()
        seconds.append(time.perf_counter() - began)
        cpu_seconds.append(time.process_time() - cpu_began)
    return Timing(tuple(seconds), tuple(cpu_seconds))


def start(description: str, *, threads: int = 2, repeats: int = 5) -> argparse.Namespace:
    """Read `--threads` and `--repeats`, prepare the process as a stage does, and print what it runs on.

    Args:
        description: what is measured, with its sizes.
        threads: default of `--threads`.
        repeats: default of `--repeats`.

    Returns:
        The options `threads` and `repeats`.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--threads", type=int, default=threads, help="threads of torch")
    parser.add_argument("--repeats", type=int, default=repeats, help="runs of which the median is printed")
    options = parser.parse_args()
    prepare_process(0)
    torch.set_num_threads(options.threads)
    print(description)
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {options.threads} threads, load {os.getloadavg()[0]:.1f}, "
        f"torch {torch.__version__}"
    )
    if os.getloadavg()[0] > 0.5:
        print("the machine is busy: times are upper limits")
    return options


def line(name: str, value: str) -> None:
    """Print one result."""
    print(f"  {name:<58} {value}")
