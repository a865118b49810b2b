"""Stages and their parts as Prefect tasks: ordered as in `dvc dag`, and retried only after infrastructure faults.

Errors become states, with the error's message.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, wait
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from bestie.errors import InputError
from flows.faults import CancelledError, InfrastructureError, StageError
from flows.graph import Graph, Stage
from flows.stopping import Stop

#: Seconds to wait before the second and the third attempt, after infrastructure faults.
RETRY_DELAYS_S = (10.0, 60.0)
FAULT = "InfrastructureError"

RunStage = Callable[[Stage], State]


@dataclass(frozen=True)
class Spread:
    """How a stage is computed in parts.

    Attributes:
        count: the number of parts.
        look: runs first, and finds out whether the parts are needed.
        compute: computes one part, numbered from 1; all parts may run at once.
    """

    count: int
    look: RunStage
    compute: Callable[[Stage, int], State]


def run_graph(
    graph: Graph,
    run: RunStage,
    stop: Stop,
    *,
    spread: Mapping[str, Spread] | None = None,
    delays_s: Sequence[float] = RETRY_DELAYS_S,
) -> dict[str, State]:
    """Run every stage of `graph` as a task after those that it reads from; return their last states.

    Only DVC decides what is up to date, so Prefect's caching is off. A stage whose upstream failed ends as NotReady.
    Before a stage of `spread` runs, its parts run as tasks of their own; if one fails, its state is the stage's.
    """
    futures: dict[str, list[PrefectFuture[Any]]] = {}
    for stage in graph.values():
        before = [futures[name][-1] for name in stage.upstream if name in futures]
        own = (spread or {}).get(stage.name)
        parts = [] if own is None else _submit_parts(stage, own, stop, delays_s, before)
        last = _task(_work(run, stage, stop), stage.name, stage.description, delays_s)
        futures[stage.name] = [*parts, last.submit(wait_for=[*before, *parts])]
    wait([future for each in futures.values() for future in each])
    return {name: _state([future.state for future in each]) for name, each in futures.items()}


def _submit_parts(
    stage: Stage, spread: Spread, stop: Stop, delays_s: Sequence[float], before: list[PrefectFuture[Any]]
) -> list[PrefectFuture[Any]]:
    def compute(number: int) -> State:
        return as_state(lambda: spread.compute(stage, number), stop)

    look = _task(_work(spread.look, stage, stop), f"{stage.name}: look", "Is it up to date?", delays_s)
    looked: PrefectFuture[Any] = look.submit(wait_for=before)
    name = f"{stage.name}: part {{number}} of {spread.count}"
    parts = _task(compute, name, stage.description, delays_s).map(list(range(1, spread.count + 1)), wait_for=[looked])
    return [looked, *parts]


def _state(states: Sequence[State]) -> State:
    """Return the state of a stage: the last one, or the first one that kept it from running."""
    return next((state for state in states[:-1] if not state.is_completed()), states[-1])


def _work(run: RunStage, stage: Stage, stop: Stop) -> Callable[[], State]:
    return lambda: as_state(lambda: run(stage), stop)


def _task(work: Callable[..., State], run_name: str, description: str, delays_s: Sequence[float]) -> Task[..., Any]:
    return Task(
        work,
        name=run_name.replace(" {number}", ""),
        task_run_name=run_name,
        description=description,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=len(delays_s),
        retry_delay_seconds=list(delays_s),
        retry_condition_fn=is_infrastructure_fault,
    )


def as_state(run: Callable[[], State], stop: Stop) -> State:
    """Run a stage and return the state of its run; an error becomes a state with the error's own message."""
    try:
        return run()
    except InfrastructureError as fault:
        get_run_logger().warning("%s", fault)
        return Failed(name=FAULT, message=str(fault))
    except (StageError, InputError) as error:
        get_run_logger().error("%s", error)
        return Failed(message=str(error))
    except CancelledError:
        return stop.state()


def is_infrastructure_fault(task: Task[..., Any], run: Any, state: State) -> bool:  # noqa: ARG001  Prefect's signature
    """Return whether another attempt can help."""
    return state.name == FAULT


def summarize_states(states: Mapping[str, State]) -> State:
    """Return the state of a run from those of its stages: Failed with everything that went wrong, or Completed."""
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
