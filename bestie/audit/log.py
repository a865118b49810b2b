"""The log of all versions of the labels: by whom, when and from what each was made, what changed, how good it is."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bestie.audit.causes import Cause, find_causes
from bestie.audit.counts import Counts, count_labels
from bestie.audit.input_changes import InputChanges, compare_inputs
from bestie.audit.lock import short_hash
from bestie.audit.sources import CLASSIFIER, CUES, IMAGES, NETWORK, WSSS_MAPS, Artifacts
from bestie.audit.versions import LABEL_STAGES, History, Version
from bestie.errors import InputError

#: Artifacts that labels are made from, in the order of the stages.
UPSTREAM = {"data": IMAGES, "classifier": CLASSIFIER, "cues": CUES, "wsss": WSSS_MAPS, "network": NETWORK}
HASH_DIGITS = 8


@dataclass(frozen=True)
class LogEntry:
    """One version.

    Attributes:
        version: the version.
        before: the version before it; None for the first one.
        causes: parameters, code and data that changed since then.
        inputs: images, image-level labels and WSSS maps that changed since then; None for the first version, or if
            they cannot be read.
        upstream: short hashes of what the labels were made from, by the names in `UPSTREAM`, and
            `pseudo_labels`, the version of the pseudo labels that an export came from.
        counts: the number of labels; None if the artifacts cannot be read.
        problem: why something cannot be read; None if everything can.
    """

    version: Version
    before: Version | None
    causes: list[Cause]
    inputs: InputChanges | None
    upstream: dict[str, str]
    counts: Counts | None
    problem: str | None


def log_versions(
    history: History, stages: Iterable[str] = LABEL_STAGES, *, memory: Path | None = None
) -> Iterator[LogEntry]:
    """Yield the versions of the labels of some stages, stage by stage, the newest first.

    Args:
        history: the history of the project.
        stages: the names of the stages.
        memory: a folder that caches counts, see `count_labels`.

    Raises:
        InputError: the `dvc.lock` of the workspace cannot be read.
    """
    for stage in stages:
        for version, before in history.log(stage):
            yield _entry(history, version, before, memory)


def _entry(history: History, version: Version, before: Version | None, memory: Path | None) -> LogEntry:
    artifacts = Artifacts(version, history.root)
    counts, inputs, problem = None, None, None
    try:
        counts = count_labels(artifacts, memory)
    except InputError as error:
        problem = str(error)
    try:
        inputs = None if before is None else compare_inputs(Artifacts(before, history.root), artifacts)
    except InputError as error:
        problem = problem or str(error)
    return LogEntry(
        version=version,
        before=before,
        causes=[] if before is None else find_causes(before, version),
        inputs=inputs,
        upstream=_upstream(version),
        counts=counts,
        problem=problem,
    )


def _upstream(version: Version) -> dict[str, str]:
    files = version.lineage.files
    found = {name: files[path][:HASH_DIGITS] for name, path in UPSTREAM.items() if path in files}
    first = version.lineage.stages.get(LABEL_STAGES[0])
    if first is not None and version.stage != first.name:
        found["pseudo_labels"] = short_hash(first.outs)
    return found
