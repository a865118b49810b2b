"""The pipeline as one Prefect flow, one task a stage: `python -m flows.pipeline`.

Without a Prefect server it starts one for its own time; `make serve` runs one that stays.
"""

from pathlib import Path
from typing import Annotated

import typer
from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from bestie.errors import InputError
from flows import workspace
from flows.faults import Stopped
from flows.graph import load_graph, select
from flows.locks import workspace_lock
from flows.one_machine import OneMachine
from flows.stopping import Stop, Watch
from flows.tasks import run_graph

#: Stages that may run at once; pools and slots hold them back further.
MAX_STAGES = 8


@flow(
    name="pipeline",
    description="Bring the stages of dvc.yaml up to date, each as one task.",
    task_runner=ThreadPoolTaskRunner(max_workers=MAX_STAGES),
    validate_parameters=True,
)
def pipeline(
    targets: list[str] | None = None,
    set_params: list[str] | None = None,
    profile: str | None = None,
    force: bool = False,
    revision: str | None = None,
    wait: bool = False,
) -> State:
    """Bring stages up to date.

    Args:
        targets: stages to bring up to date, with all that they are made from; none: every stage.
        set_params: `section.key=value`, written to `params.yaml` first.
        profile: a file of `profiles/`, written to `params.yaml` first.
        force: run stages that are up to date, too.
        revision: a git revision to check out first.
        wait: wait for another run in this workspace to end, where it would else be refused.
    """
    stop = Stop()
    with Watch(stop, runtime.flow_run.id):
        try:
            return _on_this_machine(
                Path.cwd(),
                stop,
                targets=targets or [],
                set_params=set_params or [],
                profile=profile,
                force=force,
                revision=revision,
                wait=wait,
            )
        except Stopped:
            assert stop.state is not None
            return stop.state
        except KeyboardInterrupt:
            stop.now(Cancelled(message="Interrupted from the keyboard; what was running has ended."))
            return Cancelled(message="Interrupted from the keyboard; what was running has ended.")
        except InputError as error:
            return Failed(message=str(error))
        except BaseException:
            stop.now(Cancelled(message="The run was ended from outside."))
            raise


def _on_this_machine(
    root: Path,
    stop: Stop,
    *,
    targets: list[str],
    set_params: list[str],
    profile: str | None,
    force: bool,
    revision: str | None,
    wait: bool,
) -> State:
    log = get_run_logger()

    def waiting(holder: str) -> None:
        log.info("waiting for %s", holder)
        stop.check()

    with workspace_lock(root, f"pipeline run {runtime.flow_run.name!r}", wait=waiting if wait else None) as lock:
        if revision:
            workspace.checkout(root, workspace.resolve(root, revision))
        if profile or set_params:
            for change in workspace.set_params(root, profile, set_params):
                log.info("%s: %s", workspace.PARAMS, change)
        graph = select(load_graph(root), targets)
        states = run_graph(graph, OneMachine(root, stop, lock=lock, force=force).run, stop)
        stop.check()
        return _summary(states)


def _summary(states: dict[str, State]) -> State:
    failed = {name: state for name, state in states.items() if state.is_failed() or state.is_crashed()}
    if failed:
        waiting = [name for name, state in states.items() if state.is_pending()]
        messages = [state.message or name for name, state in failed.items()]
        return Failed(message="\n".join([*messages, *([f"Not run: {', '.join(waiting)}"] if waiting else [])]))
    ran = [name for name, state in states.items() if state.name != "Cached"]
    return Completed(
        message=f"{len(states) - len(ran)} of {len(states)} stages unchanged; ran {', '.join(ran) or 'none'}"
    )


def main(
    targets: Annotated[list[str] | None, typer.Argument(help="Stages, with all that they are made from.")] = None,
    set_params: Annotated[list[str] | None, typer.Option("-S", "--set", help="section.key=value")] = None,
    profile: Annotated[str | None, typer.Option(help="A file of profiles/, without its ending.")] = None,
    force: Annotated[bool, typer.Option(help="Run stages that are up to date, too.")] = False,
    revision: Annotated[str | None, typer.Option(help="A git revision to check out first.")] = None,
    wait: Annotated[bool, typer.Option(help="Wait for another run in this workspace.")] = False,
) -> None:
    """Run the pipeline as a Prefect flow on this machine.

    Example: python -m flows.pipeline make_pseudo_labels -S make_pseudo_labels.min_area_px=80
    """
    state = pipeline(targets, set_params, profile, force, revision, wait, return_state=True)
    raise SystemExit(0 if state.is_completed() else 1)


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(main)
    app()
