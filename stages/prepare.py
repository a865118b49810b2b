"""Read or generate the data set: `python -m stages.prepare`.

It writes `data/prepare/`: the image index, the categories, the labeled points, and, only for evaluation and
diagnostics, the true instances and semantic maps. The generated data set goes to `data/raw/generated/`.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bestie.artifacts.atomic import atomic_output
from bestie.artifacts.image_index import ImageIndex, read_images, write_images
from bestie.artifacts.instances import cue_rows, instance_rows
from bestie.artifacts.map_layout import layout_of
from bestie.artifacts.maps import MapWriter
from bestie.artifacts.paths import GENERATED_ROOT
from bestie.artifacts.schemas import INSTANCES, POINTS, SKIPPED
from bestie.artifacts.tables import TableWriter, write_categories
from bestie.datasets.base import DataSet
from bestie.datasets.coco import CocoDataSet
from bestie.datasets.folder import FolderDataSet
from bestie.datasets.opening import open_dataset
from bestie.datasets.shapes import SHAPE_CLASS_NAMES, generate_shapes
from bestie.errors import InputError
from bestie.params.dataset import Dataset
from bestie.params.prepare import Prepare
from bestie.records import VOID, ImageRecord
from bestie.runtime.health import skipped_samples, write_warnings
from bestie.runtime.progress import Progress, track
from bestie.runtime.settings import Settings
from bestie.runtime.stage import folder, run_stage
from bestie.runtime.threads import in_threads

#: The folders of VOC's layout. Each is an output of its own, so that another stage depends only on those it reads.
FOLDERS = (
    "Annotations",
    "Center_points",
    "ImageSets",
    "JPEGImages",
    "SegmentationClass",
    "SegmentationObject",
    "WSSS_maps",
)

#: What the folders of the generated data set hold if there is none.
NOTHING_GENERATED = "Nothing is generated here, since `dataset.format` is not `shapes`.\n"


def main(dataset: Dataset, params: Prepare, settings: Settings) -> None:
    """Index the data set, generating it first if `dataset.format` is shapes.

    Raises:
        InputError: the data set or a parameter is wrong.
    """
    generate(dataset, params, settings)
    if dataset.format == "shapes" and params.categories is None:
        params = params.model_copy(update={"categories": SHAPE_CLASS_NAMES})
    reader = open_dataset(dataset, params)
    if isinstance(reader, FolderDataSet):
        say_left_out(reader, params)
    if isinstance(reader, CocoDataSet | FolderDataSet) and reader.without_masks:
        print(
            f"prepare: {reader.without_masks} images have objects with a box and no mask; their classes are labels, "
            "and these images have no true masks to score with",
            file=sys.stderr,
        )
    out = folder("prepare")
    with atomic_output(out / "images.parquet") as partial:
        skipped: list[tuple[str, str]] = []
        write_images(partial, read_records(reader, dataset, params, settings, skipped))
        records = read_images(partial)
        write_truth(out, reader, records, settings)
    write_skipped(out, skipped, total=len(records) + len(skipped))
    write_categories(out / "categories.parquet", reader.categories)
    write_points(out / "points.parquet", dataset, reader, records.of_split("train"))


def generate(dataset: Dataset, params: Prepare, settings: Settings) -> None:
    """Write the generated data set; for real data, folders with a note, since DVC expects outputs that are not empty.

    Raises:
        InputError: a value of `prepare.shapes` is wrong.
    """
    if dataset.format != "shapes":
        for name in FOLDERS:
            (GENERATED_ROOT / name).mkdir(parents=True, exist_ok=True)
            (GENERATED_ROOT / name / "README.md").write_text(NOTHING_GENERATED, encoding="utf-8")
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
    """Print which splits of a label table are left out: not a warning, since that may be intended or a misspelling."""
    if not reader.other_splits:
        return
    counts = ", ".join(f"{split} ({count})" for split, count in reader.other_splits.items())
    print(
        f"prepare: {sum(reader.other_splits.values())} images of {params.folder.labels} are left out, since their "
        f"split is neither {params.train_list} (prepare.train_list) nor {params.val_list} (prepare.val_list): {counts}",
        file=sys.stderr,
    )


def read_records(
    reader: DataSet, dataset: Dataset, params: Prepare, settings: Settings, skipped: list[tuple[str, str]]
) -> Iterator[ImageRecord]:
    """Yield the index: training images first, then validation images, each in the order of its list.

    All pixels are read once, so that a damaged file is known before anything is trained. With `on_error: skip`, the
    (image_id, reason) of each sample that is set aside is added to `skipped`.

    Raises:
        InputError: a sample is bad and `on_error` is fail, or no training image is left.
    """
    limits = {"train": params.limit_train, "val": params.limit_val}
    wanted = [(split, image_id) for split in limits for image_id in reader.samples(split)[: limits[split]]]
    kept: Counter[str] = Counter()

    def read(sample: tuple[str, str]) -> ImageRecord | InputError:
        try:
            record = reader.record(sample[1], row=0, split=sample[0])
            if params.on_error == "skip":
                examine(reader, dataset, record)
        except InputError as error:
            return error
        return record

    progress = track(wanted, "prepare: images", as_json=settings.json_progress)
    for (_, image_id), found in zip(progress, in_threads(read, wanted), strict=True):
        if isinstance(found, ImageRecord):
            yield replace(found, row=kept.total())
            kept[found.split] += 1
        elif params.on_error == "skip":
            skipped.append((image_id, str(found)))
        else:
            raise found
    if skipped and not kept["train"]:
        raise InputError(f"no training image is left: {len(skipped)} samples are bad, the first: {skipped[0][1]}")


def examine(reader: DataSet, dataset: Dataset, record: ImageRecord) -> None:
    """Read what later steps will read of a sample beside its pixels.

    Raises:
        InputError: a part of the sample is wrong; the message names the first one.
    """
    reader.ground_truth(record.image_id)
    if dataset.supervision == "point" and record.split == "train":
        reader.points(record.image_id)


def write_skipped(out: Path, skipped: Sequence[tuple[str, str]], *, total: int) -> None:
    """Write the table of samples set aside, which may be empty, and the warning that says how many there are."""
    with TableWriter(out / "skipped.parquet", SKIPPED) as table:
        table.append_rows({"image": image_id, "reason": reason} for image_id, reason in skipped)
    write_warnings(out, skipped_samples(len(skipped), total))


def write_truth(out: Path, reader: DataSet, records: ImageIndex, settings: Settings) -> None:
    """Write the true instances and semantic maps of all images that have them.

    Raises:
        InputError: a true mask is wrong, or all of them together show no object although the images have labels.
    """
    layout = layout_of(records.sizes_hw)
    maps = MapWriter(out / "ground_truth.zarr", {"semantic": ("uint8", VOID)}, len(records), layout)
    labeled = shown = 0
    with maps, TableWriter(out / "ground_truth.parquet", INSTANCES) as table:
        for record in track(records, "prepare: truth", as_json=settings.json_progress):
            truth = reader.ground_truth(record.image_id)
            if truth is None:
                continue
            labeled += bool(record.labels)
            shown += len(truth.instances)
            maps.write(record.row, "semantic", truth.semantic)
            table.append_rows(
                instance_rows(
                    record,
                    [each.mask for each in truth.instances],
                    [each.category_id for each in truth.instances],
                    is_crowd=[each.is_crowd for each in truth.instances],
                )
            )
        if labeled and not shown:
            raise InputError(
                f"the true masks of {reader.root} show no object, although {labeled} of their images have labels. Give "
                f"the pixels of each class its number (0 is background, {VOID} void), or remove the masks."
            )


def write_points(path: Path, dataset: Dataset, reader: DataSet, train: Sequence[ImageRecord]) -> None:
    """Write the labeled points of the training images: required with point supervision, otherwise optional.

    If they are optional and no image has any, nothing is printed. If only some images lack them, that may be a
    mistake, so their number is printed.

    Raises:
        InputError: with point supervision, an image has no points, or they are wrong.
    """
    without, first = 0, ""
    with TableWriter(path, POINTS) as table:
        for record in train:
            try:
                table.append_rows(cue_rows(record, reader.points(record.image_id)))
            except InputError as error:
                if dataset.supervision == "point":
                    raise
                without, first = without + 1, first or str(error)
    if 0 < without < len(train):
        print(
            f"prepare: {without} of {len(train)} training images are left without points, which image-level "
            f"supervision does not use; the first: {first}",
            file=sys.stderr,
        )


if __name__ == "__main__":
    run_stage("prepare", Prepare, main, sys.argv[1:])
