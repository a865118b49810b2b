"""Set up the Prefect server for workers: `python -m flows.deploy`, which can be repeated at any time.

It creates the work pools `cpu` and `gpu`, the deployments of `prefect.yaml`, and an automation that marks runs whose
process is gone as crashed.
"""

import os
import subprocess
import sys
from datetime import timedelta

from prefect.automations import Automation
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectAlreadyExists
from prefect.workers.process import ProcessWorker

from bestie.errors import InputError
from flows.graph import POOLS
from flows.repro import TO_COMPUTE
from flows.server import needed

#: Seconds without a heartbeat after which a run counts as dead: two heartbeats and a margin.
SILENCE_S = 75
ENDS = ("Completed", "Cached", TO_COMPUTE, "Failed", "InfrastructureError", "Cancelled", "Crashed")
HEARTBEAT = "prefect.flow-run.heartbeat"


def create_pools() -> None:
    """Create the pools that `meta.pool` names, unless they exist."""
    template = ProcessWorker.get_default_base_job_template()
    with get_client(sync_client=True) as client:
        for name in POOLS:
            try:
                client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))
                print(f"work pool {name}: created")
            except ObjectAlreadyExists:
                print(f"work pool {name}: there")


def create_automation() -> None:
    """Create or update the automation that finds dead runs."""
    wanted = Automation(
        name="runs without a process crash",
        description="A run that has sent no heartbeat for a while has lost its process and its worker.",
        trigger=EventTrigger(
            after={HEARTBEAT},
            expect={HEARTBEAT, *(f"prefect.flow-run.{name}" for name in ENDS)},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=SILENCE_S),
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message=f"No heartbeat for {SILENCE_S} s: its process and its worker are gone. Run again to continue.",
            )
        ],
    )
    with get_client(sync_client=True) as client:
        found = client.read_automations_by_name(wanted.name)
    if found:
        wanted.id = found[0].id
        wanted.update()
    else:
        wanted.create()
    print(f"automation {wanted.name!r}: {'brought up to date' if found else 'created'}")


def deploy(url: str) -> int:
    """Create the deployments of `prefect.yaml`; return the exit status of `prefect deploy`."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    return subprocess.run(command, env=os.environ | {"PREFECT_API_URL": url}, check=False).returncode


def main() -> None:
    """Set up the server, and exit with the status of `prefect deploy`.

    Raises:
        InputError: there is no server.
    """
    with needed() as url:
        create_pools()
        create_automation()
        raise SystemExit(deploy(url))


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"flows.deploy: {error}") from None
