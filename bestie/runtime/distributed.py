"""One stage on several devices: start its processes, join them in a group, and train with torch's DDP.

If `python -m stages.X` sees several GPUs, or BESTIE_PROCESSES asks for several processes, it runs itself once per
process under torch's launcher, as `torchrun` does. `bestie.runtime.ranks` tells a process which of them it is.
"""

import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, distributed, nn
from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from torch.nn.parallel import DistributedDataParallel

from bestie.artifacts import maps
from bestie.artifacts.paths import folder
from bestie.errors import InputError
from bestie.params.dataset import Dataset
from bestie.params.section import Section
from bestie.runtime import ranks
from bestie.runtime.device import pick_device
from bestie.runtime.settings import Settings
from bestie.runtime.signals import end_with_parent
from bestie.runtime.threads import cores

#: How long processes wait for each other: only one of them writes a snapshot, or joins the files at the end.
PATIENCE = timedelta(hours=2)
#: Processes on one GPU in a stage that computes image after image: while one reads, groups or writes, others compute.
PROCESSES_A_GPU = 4
#: Seconds that the other processes wait after an error: if the first one has it too, it reports it and they are ended.
FIRST_SPEAKS_S = 10.0

T = TypeVar("T", bound=Section)
Main = Callable[[Dataset, T, Settings], None]


def spread(main: Main[T], *, gpus: bool = True, images: bool = False) -> Main[T]:
    """Return a stage's `main` that runs in one process per device if there are several.

    Args:
        main: the function that does the work; `bestie.runtime.ranks` tells it which share is its own.
        gpus: whether it computes on GPUs, with one process for each that is visible. On the CPU there are several
            processes only if BESTIE_PROCESSES asks for them.
        images: whether it computes image after image, and trains nothing: then up to `PROCESSES_A_GPU` share a GPU.
    """

    def spread_main(dataset: Dataset, params: T, settings: Settings) -> None:
        if ranks.launched():
            with _joined(on_gpus=gpus and _uses_gpus(settings)):
                main(dataset, params, settings)
        elif (wanted := _wanted(params, settings, gpus=gpus, images=images)) > 1:
            _launch(wanted)
        else:
            with suppress(ranks.HelperEnd):
                main(dataset, params, settings)

    return spread_main


def wait_for_all() -> None:
    """Wait until every process of the stage has reached this call."""
    if ranks.launched():
        distributed.barrier()


def mean(values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return the mean of each value over the processes."""
    if ranks.count() == 1:
        return values
    total = values.clone()
    distributed.all_reduce(total)
    return total / ranks.count()


def replicate(module: nn.Module) -> nn.Module:
    """Return the module to call in a training step instead of `module`: it averages gradients over the processes."""
    if ranks.count() == 1:
        return module
    # Normalization layers see only the share of their own process; the statistics of the first process are kept.
    return DistributedDataParallel(module, gradient_as_bucket_view=True)


def _wanted(params: Section, settings: Settings, *, gpus: bool, images: bool = False) -> int:
    """Return the number of processes: the one that is set, but on GPUs no more than they serve.

    A training has at most one per GPU, and a divisor of its batch.
    """
    if not (gpus and _uses_gpus(settings)):
        return settings.processes or 1
    if settings.device not in ("auto", "cuda"):  # a single GPU, chosen by name
        return 1
    devices = torch.cuda.device_count()
    if images:
        most = devices * max(1, min(PROCESSES_A_GPU, cores() // devices))
        return min(settings.processes or most, most, _count_steps())
    most = min(settings.processes or devices, devices)
    batch_size = getattr(params, "batch_size", most)
    number = max(number for number in range(1, most + 1) if batch_size % number == 0)
    if number < most:
        print(f"uses {number} of {most} GPUs: a batch of {batch_size} images is shared equally", file=sys.stderr)
    return number


def _count_steps() -> int:
    """Return in how many steps images are handed out to processes; 1 if `prepare` has not run."""
    path = folder("prepare") / "ground_truth.zarr"  # it has a row for each image, and its size is read at once
    return max(1, -(-maps.MapReader(path).n_rows // maps.ROWS_AT_ONCE)) if path.is_dir() else 1


def _uses_gpus(settings: Settings) -> bool:
    return settings.device != "cpu" and torch.cuda.is_available()


def _launch(number: int) -> None:
    """Run the command of this process `number` times and wait. Raises SystemExit if one of them fails."""
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // number)))
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # the stage reports what went wrong
    with tempfile.TemporaryDirectory() as scratch:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=number,
            run_id="bestie",
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=scratch),
        )
        try:
            elastic_launch(config, sys.executable)(*sys.orig_argv[1:])
        except ChildFailedError as failure:
            _, first = failure.get_first_failure()
            raise SystemExit(first.exitcode if first.exitcode > 0 else 128 - first.exitcode) from None
        except SignalException as stopped:
            raise SystemExit(128 + stopped.sigval) from None


@contextmanager
def _joined(*, on_gpus: bool) -> Iterator[None]:
    """Join the group of processes for the block; `HelperEnd` ends the block without an error."""
    end_with_parent(signal.SIGKILL)  # torch's launcher starts it in a session of its own
    if on_gpus:
        device = pick_device("cuda")
        torch.cuda.set_device(device)
    if on_gpus and int(os.environ["LOCAL_WORLD_SIZE"]) <= torch.cuda.device_count():
        distributed.init_process_group("nccl", timeout=PATIENCE, device_id=device)
    else:  # NCCL takes one process a GPU; those that share one only wait for each other
        distributed.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield
    except ranks.HelperEnd:
        pass
    except InputError:
        if ranks.rank() > 0:
            time.sleep(FIRST_SPEAKS_S)
        raise
    distributed.destroy_process_group()  # not after an error, when the other processes may be gone
