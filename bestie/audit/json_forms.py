"""The results of the audit as JSON values, for scripts."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bestie.audit.causes import Cause
from bestie.audit.input_changes import InputChanges
from bestie.audit.versions import Version

if TYPE_CHECKING:  # slow to load, and each is needed by one command only
    from bestie.audit.diff import Difference
    from bestie.audit.log import LogEntry
    from bestie.audit.show import Life


def version_json(version: Version) -> dict[str, Any]:
    """Return the hash, names, date and author of a version."""
    commit = version.commit
    return {
        "version": version.hash,
        "stage": version.stage,
        "revision": version.revision,
        "commit": commit and commit.sha,
        "experiment": commit and commit.experiment,
        "names": list(commit.names) if commit else [],
        "date": commit and commit.date,
        "author": commit and commit.author,
        "subject": commit and commit.subject,
    }


def log_json(entry: "LogEntry") -> dict[str, Any]:
    """Return one entry of the log."""
    return {
        **version_json(entry.version),
        "before": entry.before and entry.before.hash,
        "causes": _causes(entry.causes),
        "inputs": _inputs(entry.inputs),
        "upstream": entry.upstream,
        "counts": entry.counts and asdict(entry.counts),
        "problem": entry.problem,
    }


def diff_json(difference: "Difference") -> dict[str, Any]:
    """Return the comparison of two versions."""
    return {
        "before": version_json(difference.before),
        "after": version_json(difference.after),
        "equal": difference.is_empty,
        "causes": _causes(difference.causes),
        "inputs": _inputs(difference.inputs),
        "other_outputs": difference.other_outputs,
        "total": difference.total,
        "by_class": difference.by_class,
        "class_changes": [
            {"before": before, "after": after, "instances": count}
            for (before, after), count in difference.class_changes.items()
        ],
        "images": difference.images,
        "changed_images": difference.changed_images,
        "rescored": difference.rescored,
        "moved_iou": difference.moved_iou,
        "largest": [
            {
                "image_id": image.image_id,
                "changed": image.changed,
                "counts": image.counts,
                "instances": [asdict(each) for each in image.instances],
            }
            for image in difference.largest
        ],
    }


def life_json(life: "Life") -> dict[str, Any]:
    """Return what every stage made of one image."""
    record = life.record
    return {
        "version": version_json(life.version),
        "image": {
            "image_id": record.image_id,
            "row": record.row,
            "split": record.split,
            "path": record.path,
            "height": record.height,
            "width": record.width,
            "labels": life.labels,
        },
        "verdicts": life.verdicts(),
        "wsss_px": life.wsss_px,
        "cues": [asdict(cue) for cue in life.cues],
        "components": [asdict(component) for component in life.components],
        "instances": {
            name: [
                {**{key: _plain(value) for key, value in row.items()}, "category": life.names[row["category_id"] - 1]}
                for row in rows
            ]
            for name, rows in life.instances.items()
        },
        "refined_epoch": life.epoch,
        "missing": life.missing,
    }


def _causes(causes: Iterable[Cause]) -> list[dict[str, Any]]:
    return [{**asdict(cause), "text": str(cause)} for cause in causes]


def _inputs(inputs: InputChanges | None) -> dict[str, Any] | None:
    return None if inputs is None else asdict(inputs)


def _plain(value: Any) -> Any:
    """Return a NumPy scalar or array as a Python value, and any other value as it is."""
    return value.tolist() if hasattr(value, "tolist") else value
