"""One stage on several devices: its processes are started, joined to a group, and work with torch's DDP.

`python -m stages.X` sees several GPUs, or BESTIE_PROCESSES, and starts itself once for each under torch's launcher,
as `torchrun` does. `bestie.processes` says in each of them which it is.
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

from bestie import processes
from bestie.errors import InputError
from bestie.params import Dataset, Section
from bestie.settings import Settings
from bestie.stopping import end_with_parent

#: Processes wait this long for each other: a snapshot or a last join of files is one process's work.
PATIENCE = timedelta(hours=2)
#: An error that the first process sees too is said by it alone, and ends the others within this time.
FIRST_SPEAKS_S = 10.0

T = TypeVar("T", bound=Section)
Main = Callable[[Dataset, T, Settings], None]


def spread(main: Main[T], *, gpus: bool = True) -> Main[T]:
    """A stage's `main` that runs in one process a device where there are several.

    Args:
        main: says by `bestie.processes` which process does what.
        gpus: computes on GPUs, with a process for each that is visible; False: on the CPU alone, with several
            processes only where BESTIE_PROCESSES asks.
    """

    def spread_main(dataset: Dataset, params: T, settings: Settings) -> None:
        if processes.launched():
            with _joined(on_gpus=gpus and _uses_gpus(settings)):
                main(dataset, params, settings)
        elif (wanted := _wanted(params, settings, gpus=gpus)) > 1:
            _launch(wanted)
        else:
            with suppress(processes.HelperEnd):
                main(dataset, params, settings)

    return spread_main


def wait_for_all() -> None:
    """Return when every process of the stage has come here."""
    if processes.launched():
        distributed.barrier()


def mean(values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The mean over the processes."""
    if processes.count() == 1:
        return values
    total = values.clone()
    distributed.all_reduce(total)
    return total / processes.count()


def replicate(module: nn.Module) -> nn.Module:
    """What a training step calls in place of `module`: gradients become the mean over the processes."""
    if processes.count() == 1:
        return module
    # Normalisation layers keep the statistics of their own process's share; those of the first are kept.
    return DistributedDataParallel(module, gradient_as_bucket_view=True)


def _wanted(params: Section, settings: Settings, *, gpus: bool) -> int:
    """The number of processes: as set; on GPUs at most one each, and as many as divide a batch."""
    if not (gpus and _uses_gpus(settings)):
        return settings.processes or 1
    if settings.device not in ("auto", "cuda"):  # one GPU by its name
        return 1
    devices = torch.cuda.device_count()
    most = min(settings.processes or devices, devices)
    batch_size = getattr(params, "batch_size", most)
    return max(number for number in range(1, most + 1) if batch_size % number == 0)


def _uses_gpus(settings: Settings) -> bool:
    return settings.device != "cpu" and torch.cuda.is_available()


def _launch(number: int) -> None:
    """Run this process's own command `number` times and wait; SystemExit when one of them fails."""
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // number)))
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # the stage says what went wrong
    with tempfile.TemporaryDirectory() as folder:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=number,
            run_id="bestie",
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=folder),
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
    """Be a process of the group in the block; `HelperEnd` ends the block quietly."""
    end_with_parent(signal.SIGKILL)  # it has a session of its own
    if on_gpus:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
        distributed.init_process_group("nccl", timeout=PATIENCE, device_id=device)
    else:
        distributed.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield
    except processes.HelperEnd:
        pass
    except InputError:
        if processes.rank() > 0:
            time.sleep(FIRST_SPEAKS_S)
        raise
    distributed.destroy_process_group()  # after an error the other processes may be gone, and the group is left alone
