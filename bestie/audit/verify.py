"""Silent corruption is found and named: the hashes of a version's files, and whether their contents agree."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from bestie.audit.check_export import ANNOTATIONS, check_annotations
from bestie.audit.check_files import check_file
from bestie.audit.check_labels import check_pseudo_labels, check_shapes, check_wsss
from bestie.audit.check_tables import check_categories, check_cues, check_index, check_instances
from bestie.audit.findings import Finding, limited
from bestie.audit.sources import (
    ACTIVATIONS,
    CATEGORIES,
    CUES,
    GROUND_TRUTH,
    IMAGES,
    PSEUDO_MAPS,
    WSSS_MAPS,
    Artifacts,
    instances_of,
)
from bestie.errors import InputError
from bestie.folders import folder
from bestie.progress import Progress

POINTS = str(folder("prepare") / "points.parquet")
TRUE_MAPS = str(folder("prepare") / "ground_truth.zarr")
PSEUDO, EXPORT = instances_of("make_pseudo_labels"), instances_of("export_mrcnn")

Check = Callable[[Artifacts], Iterator[Finding]]
ImageCheck = Callable[[Artifacts, Callable[[], None]], Iterator[Finding]]


def verify_version(artifacts: Artifacts, *, root: Path = Path(), as_json: bool = False) -> Iterator[Finding]:
    """Check everything that a version's labels were made from, and the labels.

    The stored bytes of every output are hashed and compared with `dvc.lock`; then the tables are checked
    against the index, and maps, masks, components and cues against each other. Faults that were there when
    the files were written, and so have the right hash, are found by the second.

    Args:
        artifacts: of the version.
        root: the folder with `dvc.yaml`.
        as_json: progress as JSON lines.
    """
    outs = [path for run in artifacts.version.lineage.stages.values() for path in run.outs]
    checks = {path: check for path, check in CHECKS.items() if artifacts.has(path)}
    by_image = {path: check for path, check in IMAGE_CHECKS.items() if artifacts.has(path)}
    total = len(outs) + len(checks) + len(by_image) * _count_images(artifacts)
    progress = Progress("verify", total, unit="check", as_json=as_json)
    try:
        for path in outs:
            yield from limited(path, check_file(artifacts, path, root))
            progress.advance()
        for path, check in checks.items():
            yield from limited(path, check(artifacts))
            progress.advance()
        for path, image_check in by_image.items():
            yield from limited(path, image_check(artifacts, progress.advance))
    finally:
        progress.close()


def _count_images(artifacts: Artifacts) -> int:
    """Training images; 0 where the index cannot be read, which is a finding of its own."""
    try:
        return sum(1 for _ in artifacts.training_images)
    except InputError:
        return 0


def _check_export(artifacts: Artifacts) -> Iterator[Finding]:
    only = artifacts.version.run.params.get("export_mrcnn.use_image_labels", False)
    return check_instances(artifacts, EXPORT, splits=("train",), labels_only=bool(only))


#: What is checked where a version has the file.
CHECKS: Mapping[str, Check] = {
    CATEGORIES: check_categories,
    IMAGES: check_index,
    GROUND_TRUTH: partial(check_instances, path=GROUND_TRUTH),
    TRUE_MAPS: partial(check_shapes, path=TRUE_MAPS),
    POINTS: partial(check_cues, path=POINTS),
    CUES: partial(check_cues, path=CUES),
    ACTIVATIONS: partial(check_shapes, path=ACTIVATIONS),
    WSSS_MAPS: partial(check_shapes, path=WSSS_MAPS),
    PSEUDO: partial(check_instances, path=PSEUDO, splits=("train",), labels_only=True),
    PSEUDO_MAPS: partial(check_shapes, path=PSEUDO_MAPS),
    EXPORT: _check_export,
    ANNOTATIONS: check_annotations,
}
#: What takes long, a step an image.
IMAGE_CHECKS: Mapping[str, ImageCheck] = {WSSS_MAPS: check_wsss, PSEUDO_MAPS: check_pseudo_labels}
