"""Read or generate the data set: `python -m stages.prepare`.

Writes `data/prepare/`: the image index, the categories, labelled points, and, for evaluation and diagnostics
only, the true instances and semantic maps. The generated data set lies in `data/raw/generated/`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from bestie.artifacts.atomic import atomic_output
from bestie.artifacts.instances import cue_rows, instance_rows
from bestie.artifacts.maps import MapWriter
from bestie.artifacts.schemas import INSTANCES, POINTS, SKIPPED
from bestie.artifacts.tables import TableWriter, write_categories, write_images
from bestie.datasets.base import VOID, DataSet, ImageRecord, read_image
from bestie.datasets.folder import FolderDataSet
from bestie.datasets.opening import open_dataset
from bestie.datasets.shapes import SHAPE_CLASS_NAMES, generate_shapes
from bestie.errors import InputError
from bestie.folders import GENERATED_ROOT
from bestie.health import skipped_samples, write_warnings
from bestie.params import Dataset, Prepare
from bestie.progress import Progress, track
from bestie.settings import Settings
from bestie.stage import folder, run_stage

#: The folders of VOC's layout; each is an output of this stage, so that a stage depends on those it reads.
FOLDERS = (
    "Annotations",
    "Center_points",
    "ImageSets",
    "JPEGImages",
    "SegmentationClass",
    "SegmentationObject",
    "WSSS_maps",
)


def main(dataset: Dataset, params: Prepare, settings: Settings) -> None:
    """Index the data set, generating it first where `dataset.format` is shapes."""
    generate(dataset, params, settings)
    if dataset.format == "shapes" and params.categories is None:
        params = params.model_copy(update={"categories": SHAPE_CLASS_NAMES})
    reader = open_dataset(dataset, params)
    if isinstance(reader, FolderDataSet):
        say_left_out(reader, params)
    out = folder("prepare")
    records, skipped = read_records(reader, dataset, params, settings)
    write_skipped(out, skipped, total=len(records) + len(skipped))
    write_images(out / "images.parquet", records)
    write_categories(out / "categories.parquet", reader.categories)
    write_truth(out, reader, records, settings)
    write_points(out / "points.parquet", dataset, reader, records)


def generate(dataset: Dataset, params: Prepare, settings: Settings) -> None:
    """Write the generated data set, or empty folders where the data are real: DVC expects its outputs."""
    if dataset.format != "shapes":
        for name in FOLDERS:
            (GENERATED_ROOT / name).mkdir(parents=True, exist_ok=True)
        return
    shapes = params.shapes
    progress = Progress(
        "prepare: draw", shapes.num_train + shapes.num_val, unit="image", as_json=settings.json_progress
    )
    try:
        with atomic_output(GENERATED_ROOT) as partial:
            generate_shapes(partial, **shapes.model_dump(), progress=lambda _done, _total: progress.advance())
    except ValueError as error:
        raise InputError(f"prepare.shapes: {error}; correct the value") from error
    progress.close()


def say_left_out(reader: FolderDataSet, params: Prepare) -> None:
    """Say which splits of a label table are left out: one may be misspelt. No warning, since others may be meant."""
    if not reader.other_splits:
        return
    counts = ", ".join(f"{split} ({count})" for split, count in reader.other_splits.items())
    print(
        f"prepare: {sum(reader.other_splits.values())} images of {params.folder.labels} are left out, since their "
        f"split is neither {params.train_list} (prepare.train_list) nor {params.val_list} (prepare.val_list): {counts}",
        file=sys.stderr,
    )


def read_records(
    reader: DataSet, dataset: Dataset, params: Prepare, settings: Settings
) -> tuple[list[ImageRecord], list[tuple[str, str]]]:
    """The index: training images first, then validation images, each in the order of its list.

    Returns:
        The records, and (image_id, reason) of what is set aside; with `on_error: fail` that is nothing.

    Raises:
        InputError: a sample is bad and `on_error` is fail, or no training image is left.
    """
    limits = {"train": params.limit_train, "val": params.limit_val}
    wanted = [(split, image_id) for split in limits for image_id in reader.samples(split)[: limits[split]]]
    records: list[ImageRecord] = []
    skipped: list[tuple[str, str]] = []
    for split, image_id in track(wanted, "prepare: index", as_json=settings.json_progress):
        try:
            record = reader.record(image_id, row=len(records), split=split)
            if params.on_error == "skip":
                examine(reader, dataset, record)
        except InputError as error:
            if params.on_error == "fail":
                raise
            skipped.append((image_id, str(error)))
        else:
            records.append(record)
    if skipped and not any(record.split == "train" for record in records):
        raise InputError(f"no training image is left: {len(skipped)} samples are bad, the first: {skipped[0][1]}")
    return records, skipped


def examine(reader: DataSet, dataset: Dataset, record: ImageRecord) -> None:
    """Read everything of a sample that a later step would read. InputError for the first that is wrong."""
    read_image(reader.root, record)
    reader.ground_truth(record.image_id)
    if dataset.supervision == "point" and record.split == "train":
        reader.points(record.image_id)


def write_skipped(out: Path, skipped: Sequence[tuple[str, str]], *, total: int) -> None:
    """The table of samples set aside, empty where all are well, and the warning that says how many they are."""
    with TableWriter(out / "skipped.parquet", SKIPPED) as table:
        table.append_rows({"image": image_id, "reason": reason} for image_id, reason in skipped)
    write_warnings(out, skipped_samples(len(skipped), total))


def write_truth(out: Path, reader: DataSet, records: list[ImageRecord], settings: Settings) -> None:
    """True instances and semantic maps of all images that have them."""
    canvas_hw = (max(r.height for r in records), max(r.width for r in records))
    maps = MapWriter(out / "ground_truth.zarr", {"semantic": ("uint8", VOID)}, len(records), canvas_hw)
    with maps, TableWriter(out / "ground_truth.parquet", INSTANCES) as table:
        for record in track(records, "prepare: truth", as_json=settings.json_progress):
            truth = reader.ground_truth(record.image_id)
            if truth is None:
                continue
            maps.write(record.row, "semantic", truth.semantic)
            table.append_rows(
                instance_rows(
                    record,
                    [each.mask for each in truth.instances],
                    [each.category_id for each in truth.instances],
                    is_crowd=[each.is_crowd for each in truth.instances],
                )
            )


def write_points(path: Path, dataset: Dataset, reader: DataSet, records: list[ImageRecord]) -> None:
    """Labelled points of the training images; required with point supervision, else taken where there are some.

    Where there are none at all nothing is said: image-level labels do without. Where some images lack them, they may
    be wrong.
    """
    train = [record for record in records if record.split == "train"]
    without: list[str] = []
    with TableWriter(path, POINTS) as table:
        for record in train:
            try:
                table.append_rows(cue_rows(record, reader.points(record.image_id)))
            except InputError as error:
                if dataset.supervision == "point":
                    raise
                without.append(str(error))
    if 0 < len(without) < len(train):
        print(
            f"prepare: {len(without)} of {len(train)} training images are left without points, which image-level "
            f"supervision does not use; the first: {without[0]}",
            file=sys.stderr,
        )


if __name__ == "__main__":
    run_stage("prepare", Prepare, main, sys.argv[1:])
