"""Start a worker of one pool in this clone: `python -m flows.worker gpu`."""

import os
import socket
import sys
from pathlib import Path

from prefect.client.orchestration import get_client

from bestie.errors import InputError
from flows.graph import POOLS
from flows.server import needed
from flows.slots import gpu_slots, limit_name

#: Seconds between two requests of a worker for work; a stage waits at most this long for a free worker.
QUERY_S = "5"
#: The most runs that a worker takes at once; the rest is left to other workers. Its clone computes one stage or part at
#: a time; on `cpu` the second run may be that of the pipeline itself.
LIMITS = {"cpu": "2", "gpu": "1"}


def set_gpu_limit() -> int:
    """Set this host's concurrency limit to the number of its GPU slots, or to 1 without a GPU; return that number.

    It is not meant for a limit of several hosts (BESTIE_GPU_LIMIT), whose size the user sets.

    Raises:
        InputError: see `gpu_slots`.
    """
    slots = len(gpu_slots()) or 1
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(limit_name(), slots)
    return slots


def main(pool: str) -> None:
    """Replace this process with a worker of `pool`.

    Raises:
        InputError: there is no such pool, or no server.
    """
    if pool not in POOLS:
        raise InputError(f"there is no pool {pool!r}; take one of {', '.join(POOLS)}")
    clone = Path.cwd()
    with needed() as url:
        print(f"worker of pool {pool} in {clone}, server {url}")
        if pool == "gpu" and not os.environ.get("BESTIE_GPU_LIMIT"):
            print(f"GPU slots of this host: {set_gpu_limit()} (concurrency limit {limit_name()})")
    os.environ |= {"PREFECT_API_URL": url, "BESTIE_CLONE": str(clone)}
    os.environ.setdefault("PREFECT_WORKER_QUERY_SECONDS", QUERY_S)
    name = f"{socket.gethostname()}-{pool}-{os.getpid()}"
    options = ["--pool", pool, "--type", "process", "--name", name, "--limit", LIMITS[pool]]
    command = [sys.executable, "-m", "prefect", "worker", "start", *options]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    try:
        main(*(sys.argv[1:] or ["cpu"]))
    except InputError as error:
        raise SystemExit(f"flows.worker: {error}") from None
