"""A survey of a folder of images, class by class, before the pipeline runs on it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from unicodedata import normalize

import numpy as np

from bestie.datasets.base import check_categories
from bestie.datasets.folder import TrueMasks
from bestie.datasets.image_files import is_image_name
from bestie.datasets.image_reading import image_size
from bestie.datasets.label_table import (
    FOLDER_SPLITS,
    LabeledFile,
    class_names,
    other_splits,
    read_label_table,
    split_images,
    unread_columns,
)
from bestie.datasets.point_table import PointTable
from bestie.datasets.text_files import as_spelled
from bestie.datasets.wsss import find_wsss, map_numbers, read_wsss
from bestie.errors import InputError
from bestie.runtime.progress import track

TABLE_SUFFIXES = (".csv", ".parquet")
WSSS_FOLDERS = ("WSSS_maps", "wsss_maps", "wsss")


@dataclass(frozen=True)
class FolderLayout:
    """Where the tables and maps of a folder are; None for those that it does not have."""

    root: Path
    labels: Path
    points: Path | None
    annotations: Path | None
    wsss: Path | None


@dataclass(frozen=True)
class ClassCount:
    """Counts of one class: images by split, points, true objects, and training images that have it on their map."""

    name: str
    category_id: int
    train: int
    val: int
    points: int
    true_objects: int
    on_wsss_maps: int


@dataclass(frozen=True)
class Survey:
    """The classes of a folder, and its images.

    Attributes:
        classes: the counts of each class, in the order of their category_id.
        train: number of training images.
        val: number of validation images.
        other_splits: any other value of the column `split` -> number of its images, which are left out.
        unread_columns: columns of the label table that nothing reads.
        without_labels: number of training images without a label.
        not_listed: number of image files below the folder that the label table does not name.
        points_not_listed: files that have points, but are not named by the label table.
        without_points: if there is a point table, image ids of the training images with a label that has no point.
        without_wsss: image ids of the training images without a WSSS map.
        smallest_hw: smallest height and smallest width in px.
        largest_hw: largest height and largest width in px.
    """

    classes: tuple[ClassCount, ...]
    train: int
    val: int
    other_splits: dict[str, int]
    unread_columns: tuple[str, ...]
    without_labels: int
    not_listed: int
    points_not_listed: tuple[str, ...]
    without_points: tuple[str, ...]
    without_wsss: tuple[str, ...]
    smallest_hw: tuple[int, int]
    largest_hw: tuple[int, int]


def find_layout(root: Path, wsss: Path | None = None) -> FolderLayout:
    """Find the tables of a folder by their names: `labels`, `points` (CSV, Parquet), `annotations.json`, `WSSS_maps/`.

    Args:
        root: the folder.
        wsss: the folder of WSSS maps, if it is somewhere else.

    Raises:
        InputError: the folder, its label table or the given folder of WSSS maps does not exist; for VOC's or COCO's
            layout the message says what to do instead.
    """
    if not root.is_dir():
        raise InputError(f"there is no folder {root}; give the folder of the images")
    labels = _table(root, "labels")
    if labels is None:
        raise InputError(_without_labels(root))
    annotations = root / "annotations.json"
    folders = [wsss] if wsss is not None else [root / name for name in WSSS_FOLDERS]
    found = next((folder for folder in folders if folder.is_dir()), None)
    if wsss is not None and found is None:
        raise InputError(f"there is no folder {wsss} of WSSS maps; correct the path or leave the option out")
    return FolderLayout(
        root=root,
        labels=labels,
        points=_table(root, "points"),
        annotations=annotations if annotations.is_file() else None,
        wsss=found,
    )


def survey_folder(
    layout: FolderLayout,
    categories: Sequence[str] | None = None,
    *,
    class_numbers: Mapping[str, int] | None = None,
    val_fraction: float = 0,
) -> Survey:
    """Count what a folder holds, and check every image header, point, true mask and WSSS map.

    Args:
        layout: where its tables and maps are.
        categories: class names in the order of their category_id; None: those of the label table, sorted.
        class_numbers: class name -> its number on the WSSS maps; None: the category_id.
        val_fraction: part of the images that are for validation, if the table has no column `split`.

    Raises:
        InputError: an image is missing or unreadable, a table or a map is malformed, a label is not a category, a class
            has no name of its own, no image is for training, or a point or a true mask does not fit its image.
    """
    listed = read_label_table(layout.labels, categories)
    names = class_names(layout.labels, listed, categories)
    check_categories(layout.labels, names)
    train, val = _by_split(layout.labels, listed, val_fraction)
    sizes = {entry.file: _size(layout.root, entry) for entry in track(listed, "init: images")}
    table = PointTable(layout.points) if layout.points is not None else None
    points = Counter() if table is None else _points(table, listed, sizes, names, {entry.file for entry in train})
    masks = _masks(layout, listed, names)
    on_maps, without = _on_wsss_maps(layout, train, sizes, names, map_numbers(names, class_numbers))
    heights, widths = zip(*sizes.values(), strict=True)
    return Survey(
        classes=tuple(
            ClassCount(
                name=name,
                category_id=number,
                train=sum(name in entry.labels for entry in train),
                val=sum(name in entry.labels for entry in val),
                points=points[name],
                true_objects=masks[name],
                on_wsss_maps=on_maps[name],
            )
            for number, name in enumerate(names, start=1)
        ),
        train=len(train),
        val=len(val),
        other_splits=other_splits(listed, FOLDER_SPLITS),
        unread_columns=unread_columns(layout.labels),
        without_labels=sum(not entry.labels for entry in train),
        not_listed=len(set(_image_files(layout)) - set(sizes)),
        points_not_listed=() if table is None else tuple(file for file in table.files if file not in sizes),
        without_points=() if table is None else tuple(e.image_id for e in train if table.labels_without_point(e)),
        without_wsss=tuple(without),
        smallest_hw=(min(heights), min(widths)),
        largest_hw=(max(heights), max(widths)),
    )


def _table(root: Path, stem: str) -> Path | None:
    return next((path for suffix in TABLE_SUFFIXES if (path := root / f"{stem}{suffix}").is_file()), None)


def _without_labels(root: Path) -> str:
    if (root / "JPEGImages").is_dir():
        return f"{root} has VOC's layout; run `bestie profile voc2012 --set dataset.root={root}` instead"
    if (root / "annotations").is_dir():
        return f"{root} has COCO's layout; run `bestie profile coco2017 --set dataset.root={root}` instead"
    return (
        f"{root} has no label table; write labels.csv with the columns file and labels, one line an image, "
        "several class names joined by semicolons"
    )


def _by_split(
    path: Path, listed: list[LabeledFile], val_fraction: float
) -> tuple[list[LabeledFile], list[LabeledFile]]:
    """Return the rows for training, and those for validation."""
    ids = split_images(path, listed, FOLDER_SPLITS, val_fraction)
    entries = {entry.image_id: entry for entry in listed}
    return [entries[image_id] for image_id in ids["train"]], [entries[image_id] for image_id in ids["val"]]


def _size(root: Path, entry: LabeledFile) -> tuple[int, int]:
    path = as_spelled(root / entry.file)
    if not path.is_file():
        raise InputError(f"{entry.where}: {path} does not exist. Add the image or remove the line.")
    return image_size(path)


def _image_files(layout: FolderLayout) -> Iterator[str]:
    for path in layout.root.rglob("*"):
        if is_image_name(path) and (layout.wsss is None or layout.wsss not in path.parents):
            yield normalize("NFC", path.relative_to(layout.root).as_posix())


def _points(
    table: PointTable,
    listed: list[LabeledFile],
    sizes: dict[str, tuple[int, int]],
    names: tuple[str, ...],
    train: set[str],
) -> Counter[str]:
    """Check all points and count them by class; points of a validation image may be of any class."""
    for entry in listed:
        table.check(entry if entry.file in train else replace(entry, labels=names), sizes[entry.file])
    return Counter(name for entry in listed for name in table.labels_of(entry.file))


def _masks(layout: FolderLayout, listed: list[LabeledFile], names: tuple[str, ...]) -> Counter[str]:
    if layout.annotations is None:
        return Counter()
    masks = TrueMasks(layout.annotations, {entry.file for entry in listed})
    id_of_name = {name: number for number, name in enumerate(names, start=1)}
    for entry in track(listed, "init: true masks"):
        masks.read(entry.file, as_spelled(layout.root / entry.file), id_of_name)
    return Counter(name for entry in listed for name in masks.classes_of(entry.file))


def _on_wsss_maps(
    layout: FolderLayout,
    train: list[LabeledFile],
    sizes: dict[str, tuple[int, int]],
    names: Sequence[str],
    numbers: Sequence[int],
) -> tuple[Counter[str], list[str]]:
    """Count by class the labeled images whose map shows it, and return the images without a map."""
    shown: Counter[str] = Counter()
    if layout.wsss is None:
        return shown, [entry.image_id for entry in train]
    without = []
    for entry in track(train, "init: WSSS maps"):
        try:
            path = find_wsss(layout.wsss, entry.image_id)
        except InputError:
            without.append(entry.image_id)
            continue
        height, width = sizes[entry.file]
        present = np.unique(read_wsss(path, height=height, width=width, numbers=numbers))
        shown.update(name for number, name in enumerate(names, start=1) if number in present and name in entry.labels)
    return shown, without
