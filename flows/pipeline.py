"""The pipeline as one Prefect flow, with one task per stage: `python -m flows.pipeline`.

It reports to the server that Prefect is configured for, or to that of `make serve` if it runs. Without either, it
reports to a server of its own, which ends with it.
"""

from pathlib import Path
from typing import Annotated

import typer
from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from bestie.errors import InputError
from flows.faults import CancelledError
from flows.one_machine import run_here
from flows.requests import Request, parse_spread
from flows.server import connected
from flows.stopping import Stop, Watch
from flows.workers import run_on_workers

#: The most tasks, stages and parts, that run or wait at once; pools and GPU slots limit them further.
MAX_TASKS = 256


@flow(
    name="pipeline",
    description="Bring the stages of dvc.yaml up to date, one task each.",
    task_runner=ThreadPoolTaskRunner(max_workers=MAX_TASKS),  # type: ignore[arg-type]
)
def pipeline(
    targets: list[str] | None = None,
    set_params: list[str] | None = None,
    profile: str | None = None,
    force: bool = False,
    revision: str | None = None,
    wait: bool = False,
    on_workers: bool = False,
    spread: dict[str, int] | None = None,
) -> State:
    """Bring stages up to date.

    Args:
        targets: stages to bring up to date, with all stages that they depend on; None: every stage.
        set_params: `section.key=value` texts, which override parameters.
        profile: a file of `profiles/`, without its ending, from which the parameters are taken.
        force: also run stages that are up to date.
        revision: a git revision; None: the one that is checked out.
        wait: wait for another run in this workspace to end; otherwise this run would be refused.
        on_workers: run each stage on the worker pool that `dvc.yaml` names for it; otherwise all on this machine.
        spread: stage -> the number of parts, each of some images, that workers of its pool compute.
    """
    request = Request(tuple(targets or ()), tuple(set_params or ()), profile, force, revision, wait, spread or {})
    stop = Stop()
    with Watch(stop, runtime.flow_run.id):
        try:
            return (run_on_workers if on_workers else run_here)(Path.cwd(), request, stop)
        except CancelledError:
            return stop.state()
        except InputError as error:
            return Failed(message=str(error))
        except KeyboardInterrupt:
            stop.now(Cancelled, "Interrupted from the keyboard; what was running has ended.")
            return stop.state()
        except BaseException:
            stop.now(Cancelled, "The run was ended from outside.")
            raise


def main(
    targets: Annotated[list[str] | None, typer.Argument(help="Stages, with all that they are made from.")] = None,
    set_params: Annotated[list[str] | None, typer.Option("-S", "--set", help="section.key=value")] = None,
    profile: Annotated[str | None, typer.Option(help="A file of profiles/, without its ending.")] = None,
    force: Annotated[bool, typer.Option("-f", "--force", help="Run stages that are up to date, too.")] = False,
    revision: Annotated[str | None, typer.Option("--rev", help="A git revision to check out first.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for another run in this workspace.")] = False,
    on_workers: Annotated[bool, typer.Option("--on-workers", help="Each stage on a worker of its pool.")] = False,
    spread: Annotated[list[str] | None, typer.Option(help="stage=number: in that many parts, on workers.")] = None,
) -> None:
    """Run the pipeline as a Prefect flow.

    Example: python -m flows.pipeline make_pseudo_labels -S make_pseudo_labels.min_area_px=80
    """
    parts = parse_spread(spread or ())
    with connected():
        state = pipeline(targets, set_params, profile, force, revision, wait, on_workers, parts, return_state=True)
    raise SystemExit(0 if state.is_completed() else 1)


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(main)
    try:
        app()
    except InputError as error:
        raise SystemExit(f"flows.pipeline: {error}") from None
