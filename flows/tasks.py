"""Stages as Prefect tasks: dependencies as in `dvc dag`, retries for infrastructure alone, errors as state messages."""

from collections.abc import Callable, Sequence
from typing import Any

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, wait
from prefect.logging import get_run_logger
from prefect.states import Failed

from bestie.errors import InputError
from flows.faults import InfrastructureFault, StageFailed, Stopped
from flows.graph import Graph, Stage
from flows.stopping import Stop

#: Seconds before the next attempts after an infrastructure fault.
RETRY_DELAYS_S = (10, 60)
FAULT = "InfrastructureFault"

RunStage = Callable[[Stage], State]


def run_graph(
    graph: Graph, run: RunStage, stop: Stop, *, delays_s: Sequence[float] = RETRY_DELAYS_S
) -> dict[str, State]:
    """Run every stage of `graph` as a task after those that it reads from; returns their last states.

    DVC alone decides what is fresh, so Prefect's caching is off. A stage whose upstream failed is NotReady.
    """
    futures: dict[str, PrefectFuture[Any]] = {}
    for stage in graph.values():
        before = [futures[name] for name in stage.upstream if name in futures]
        futures[stage.name] = _task(stage, run, stop, delays_s).submit(wait_for=before)
    wait(list(futures.values()))
    return {name: future.state for name, future in futures.items()}


def _task(stage: Stage, run: RunStage, stop: Stop, delays_s: Sequence[float]) -> Task[[], State]:
    return Task(
        lambda: as_state(stage, run, stop),
        name=stage.name,
        task_run_name=stage.name,
        description=stage.description,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=len(delays_s),
        retry_delay_seconds=list(delays_s),
        retry_condition_fn=is_infrastructure_fault,
    )


def as_state(stage: Stage, run: RunStage, stop: Stop) -> State:
    """Run a stage; whatever happens becomes the state of its task, with the real error as the message."""
    try:
        return run(stage)
    except InfrastructureFault as fault:
        get_run_logger().warning("%s", fault)
        return Failed(name=FAULT, message=str(fault))
    except (StageFailed, InputError) as error:
        get_run_logger().error("%s", error)
        return Failed(message=str(error))
    except Stopped:
        assert stop.state is not None
        return stop.state.model_copy(deep=True)


def is_infrastructure_fault(task: Task[..., Any], run: Any, state: State) -> bool:  # noqa: ARG001  Prefect's signature
    """Whether another attempt can help."""
    return state.name == FAULT
