"""Runs that are still listed as running although their process is gone."""

import socket
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType
from prefect.logging import get_run_logger
from prefect.states import Crashed

MESSAGE = "The process of this run was killed. A later run in its workspace found that out."


def workspace_tag(root: Path) -> str:
    """Return the tag that all runs in one workspace have."""
    return f"workspace:{socket.gethostname()}:{root}"


def mark_leftovers(tag: str, own_id: str) -> None:
    """Tag this run, and set every other run with the tag that is listed as running to Crashed.

    The caller must hold the workspace's lock, so that no other run can be alive in it.
    """
    with get_client(sync_client=True) as client:
        own = client.read_flow_run(UUID(own_id))
        client.update_flow_run(own.id, tags=[*own.tags, tag])
        alive = FlowRunFilter(
            tags=FlowRunFilterTags(all_=[tag]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.CANCELLING])),
        )
        for run in client.read_flow_runs(flow_run_filter=alive):
            if run.id != own.id:
                client.set_flow_run_state(run.id, Crashed(message=MESSAGE), force=True)
                get_run_logger().info("run %r is marked as crashed: its process was killed", run.name)
