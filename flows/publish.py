"""What a user sees of a finished run in the UI: its version in the name and the tags, and its artifacts."""

from pathlib import Path
from uuid import UUID

from prefect import runtime
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger

from bestie.audit.lock import short_hash
from bestie.params.reading import read_yaml
from flows import ui_artifacts, workspace
from flows.graph import Graph
from flows.lock_entries import outputs, read_lock_entries

REPORT = "report.html"


def inputs(graph: Graph) -> list[str]:
    """Return the files that `finish` reads, as paths relative to the root."""
    return [path for stage in graph for path in ui_artifacts.INPUTS.get(stage, ())]


def finish(root: Path, graph: Graph, state: State) -> State:
    """Publish the artifacts of a completed run, name and tag it by its version, and log how to record it.

    A failure to publish is only a warning, since the stages are complete in any case.

    Returns:
        The state, whose message now ends with the version and how to record it.
    """
    lock = read_lock_entries(root / workspace.LOCK)
    version = short_hash(outputs(lock, *graph))
    dataset = str(read_yaml(root / workspace.PARAMS)["dataset"]["name"])
    record = workspace.commit_command(root, f"Run {version} of the pipeline on {dataset}")
    lines = [state.message or "", f"Version {version}."]
    lines.append(f"Record it: {record}" if record else "The last commit records it.")
    get_run_logger().info("%s", "\n".join(lines))
    try:
        for stage in graph:
            ui_artifacts.publish(stage, root, dataset, lock)
        if warnings := ui_artifacts.publish_warnings(root, dataset):
            get_run_logger().warning("warnings about this run: %d, see the artifact `warnings`", warnings)
        _publish_summary(root, dataset, lines)
        _tag(root, dataset, version, short_hash(outputs(lock, "make_pseudo_labels")))
    except Exception as error:
        get_run_logger().warning("some artifacts of this run are not in the UI: %s", error)
    state.message = "\n".join(lines)
    return state


def _publish_summary(root: Path, dataset: str, lines: list[str]) -> None:
    what, version, record = lines
    command = record.removeprefix("Record it: ")
    text = f"# {dataset}: {version}\n\n{what}\n\n```bash\n{command}\n```\n\nWorkspace: `{root}`\n"
    create_markdown_artifact(text, key=ui_artifacts.key("summary", dataset), description=version)
    if (root / REPORT).exists():
        create_link_artifact(
            (root / REPORT).as_uri(), link_text=f"report of {version}", key=ui_artifacts.key("report", dataset)
        )


def _tag(root: Path, dataset: str, version: str, labels: str) -> None:
    own = [f"data:{dataset}", f"version:{version}", f"labels:{labels}"]
    own.append(f"commit:{workspace.git(root, 'rev-parse', '--short', 'HEAD')}")
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(UUID(runtime.flow_run.id))
        name = run.name if version in run.name else f"{dataset} {version} ({run.name})"
        client.update_flow_run(run.id, name=name, tags=[*run.tags, *own])
