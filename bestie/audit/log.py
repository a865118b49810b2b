"""Every version of the labels: who made it when, from what, what changed, how many labels it has and how good."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bestie.audit.causes import Cause, find_causes
from bestie.audit.counts import Counts, count_labels
from bestie.audit.inputs import InputChanges, compare_inputs
from bestie.audit.lock import short_hash
from bestie.audit.sources import CLASSIFIER, CUES, IMAGES, NETWORK, WSSS_MAPS, Artifacts
from bestie.audit.versions import LABEL_STAGES, History, Version
from bestie.errors import InputError

#: What labels are made from, in the order of the stages.
UPSTREAM = {"data": IMAGES, "classifier": CLASSIFIER, "cues": CUES, "wsss": WSSS_MAPS, "network": NETWORK}
HASH_DIGITS = 8


@dataclass(frozen=True)
class LogEntry:
    """One version.

    Attributes:
        version: the version.
        before: the one before it, None for the first.
        causes: what changed since.
        inputs: images, labels and WSSS maps that changed since; None where they cannot be read.
        upstream: short hashes of what the labels were made from, by the names of `UPSTREAM`, and
            `pseudo_labels`, the version of the pseudo labels that an export came from.
        counts: None where the artifacts cannot be read.
        problem: why they cannot.
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
    """The versions of some stages, stage by stage, the newest first.

    Args:
        history: of the project.
        stages: whose labels.
        memory: a folder that keeps counts for the next time.
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
