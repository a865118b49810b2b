"""Stages as Prefect tasks: dependencies as in `dvc dag`, retries for infrastructure alone, errors as state messages."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, wait
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from bestie.errors import InputError
from flows.faults import InfrastructureError, StageError, StoppedError
from flows.graph import Graph, Stage
from flows.stopping import Stop

#: Seconds before the next attempts after an infrastructure fault.
RETRY_DELAYS_S = (10.0, 60.0)
FAULT = "InfrastructureError"

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
        task: Task[..., Any] = _task(stage, run, stop, delays_s)
        futures[stage.name] = task.submit(wait_for=before)
    wait(list(futures.values()))
    return {name: future.state for name, future in futures.items()}


def _task(stage: Stage, run: RunStage, stop: Stop, delays_s: Sequence[float]) -> Task[[], State]:
    return Task(
        lambda: as_state(lambda: run(stage), stop),
        name=stage.name,
        task_run_name=stage.name,
        description=stage.description,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=len(delays_s),
        retry_delay_seconds=list(delays_s),
        retry_condition_fn=is_infrastructure_fault,
    )


def as_state(run: Callable[[], State], stop: Stop) -> State:
    """Run a stage; whatever happens becomes the state of its run, with the real error as the message."""
    try:
        return run()
    except InfrastructureError as fault:
        get_run_logger().warning("%s", fault)
        return Failed(name=FAULT, message=str(fault))
    except (StageError, InputError) as error:
        get_run_logger().error("%s", error)
        return Failed(message=str(error))
    except StoppedError:
        return stop.state()


def is_infrastructure_fault(task: Task[..., Any], run: Any, state: State) -> bool:  # noqa: ARG001  Prefect's signature
    """Whether another attempt can help."""
    return state.name == FAULT


def summarize(states: Mapping[str, State]) -> State:
    """The state of a run from those of its stages: Failed with all that went wrong, or Completed."""
    failed = [name for name, state in states.items() if state.is_failed() or state.is_crashed()]
    cancelled = [name for name, state in states.items() if state.is_cancelled()]
    if failed or cancelled:
        messages = [states[name].message or f"{name} failed" for name in failed]
        messages += [f"{name} was cancelled." for name in cancelled]
        if waiting := [name for name, state in states.items() if state.is_pending()]:
            messages.append(f"Not run: {', '.join(waiting)}.")
        return Failed(message="\n".join(messages))
    ran = [name for name, state in states.items() if state.name != "Cached"]
    if not ran:
        return Completed(message="All stages are up to date.")
    return Completed(message=f"Ran {', '.join(ran)}; {len(states) - len(ran)} of {len(states)} stages were up to date.")
