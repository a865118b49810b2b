"""A search for silent corruption: whether the files of a version have the right hashes, and whether they agree."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from bestie.artifacts.paths import folder
from bestie.audit.check_export import ANNOTATIONS, check_annotations
from bestie.audit.check_files import check_file
from bestie.audit.check_labels import check_pseudo_labels, check_shapes, check_wsss
from bestie.audit.check_tables import check_category_table, check_cues, check_index, check_instances
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
    corrected_labels,
    instances_of,
)
from bestie.errors import InputError
from bestie.runtime.progress import Progress

POINTS = str(folder("prepare") / "points.parquet")
TRUE_MAPS = str(folder("prepare") / "ground_truth.zarr")
PSEUDO, EXPORT = instances_of("make_pseudo_labels"), instances_of("export_mrcnn")

Check = Callable[[Artifacts], Iterator[Finding]]
ImageCheck = Callable[[Artifacts, Callable[[], None]], Iterator[Finding]]


def verify_version(artifacts: Artifacts, *, root: Path = Path(), as_json: bool = False) -> Iterator[Finding]:
    """Check the labels of a version and everything that they were made from, and yield what is wrong.

    First the stored bytes of every output are hashed and compared with `dvc.lock`. Then the tables are checked against
    the index, and maps, masks, components and cues against each other. This second step finds faults that existed when
    the files were written, so that their hashes are right.

    Args:
        artifacts: the files of the version.
        root: the folder with `dvc.yaml`.
        as_json: whether to print progress as JSON lines.
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
    """Return the number of training images; 0 if the index cannot be read, which is a finding of its own."""
    try:
        return len(artifacts.training_images)
    except InputError:
        return 0


def _check_export(artifacts: Artifacts) -> Iterator[Finding]:
    only = artifacts.version.run.params.get("export_mrcnn.use_image_labels", False)
    corrected = corrected_labels(artifacts)
    return check_instances(artifacts, EXPORT, splits=("train",), labels_only=bool(only), corrected=corrected)


#: The checks of those files that a version has.
CHECKS: Mapping[str, Check] = {
    CATEGORIES: check_category_table,
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
#: The checks that take long and advance the progress with each image.
IMAGE_CHECKS: Mapping[str, ImageCheck] = {WSSS_MAPS: check_wsss, PSEUDO_MAPS: check_pseudo_labels}
