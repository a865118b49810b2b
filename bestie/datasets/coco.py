"""COCO 2017 as it is distributed, or other data in the same folders and files (Section 4.1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bestie.datasets.base import MISSING_LIST, GroundTruth, check_categories
from bestie.datasets.coco_file import AnnotatedImage, CocoFile
from bestie.datasets.image_reading import check_fits, check_image
from bestie.datasets.points import read_point_file
from bestie.datasets.text_files import as_spelled
from bestie.datasets.upright import turned_hint
from bestie.errors import InputError
from bestie.records import Category, ImageRecord, Point, hash_file

COCO_SPLITS = {"train": "train2017", "val": "val2017"}


@dataclass(frozen=True)
class _Entry:
    """One image, the path of its file relative to the root, and the annotation file that lists it."""

    image: AnnotatedImage
    path: str
    file: CocoFile


class CocoDataSet:
    """Images, labels and masks of COCO.

    COCO's category ids have gaps; `category_id` counts from 1 without gaps, and `source_id` is COCO's own id. The
    `image_id` is the file name without its suffix. Images without objects belong to their split and have the labels ();
    they are allowed in training too, because a classifier learns from them. Crowds count as labels. Polygons and RLE
    are decoded when the masks of an image are read; `without_masks` is the number of images with boxes without masks.
    COCO has no point labels; `Center_points/<image_id>.txt` is read as in VOC.

    Args:
        root: the folder with `annotations/` and the image folders.
        splits: split -> its name in COCO: `annotations/instances_<name>.json` and the folder `<name>/`. If there is no
            such file, `train` and `val` mean the names of COCO 2017, `train2017` and `val2017`.
        missing: what to do if an annotation file does not exist, for the message.

    Raises:
        InputError: an annotation file is missing or malformed, or contradicts itself or the other one.
    """

    def __init__(self, root: Path, splits: Mapping[str, str] | None = None, *, missing: str = MISSING_LIST) -> None:
        self.root = root
        self.without_masks = 0
        self._samples: dict[str, tuple[str, ...]] = {}
        self._entries: dict[str, _Entry] = {}
        names: dict[int, str] = {}
        for split, wanted in (COCO_SPLITS if splits is None else splits).items():
            name = _name_in_coco(root, wanted)
            file = CocoFile(_annotation_path(root, name), missing=missing)
            if names and file.category_names != names:
                raise InputError(f"{file.path} has other categories than the other splits. Restore the file.")
            entries = _entries(file, root, folder=name)
            if shared := entries.keys() & self._entries.keys():
                raise InputError(f"{file.path} lists the image {min(shared)} of another split. Remove it from one.")
            names = file.category_names
            self.without_masks += file.without_masks
            self._entries |= entries
            self._samples[split] = tuple(entries)
        check_categories(root, list(names.values()))
        ordered = enumerate(names.items(), start=1)
        self.categories = tuple(Category(k, name, source_id) for k, (source_id, name) in ordered)
        self._id_of_source = {category.source_id: category.category_id for category in self.categories}

    def samples(self, split: str) -> tuple[str, ...]:
        """Return the image ids of a split in the order of COCO's numbers. Raises InputError for an unknown split."""
        if split not in self._samples:
            raise InputError(f"{self.root} has no split '{split}', only {sorted(self._samples)}.")
        return self._samples[split]

    def record(self, image_id: str, *, row: int, split: str) -> ImageRecord:
        """Return the record of one image.

        Raises:
            InputError: the data set has no such image, or its file is missing or not of the size that COCO says.
        """
        entry = self._entry(image_id)
        path, image = as_spelled(self.root / entry.path), entry.image
        found = check_image(path)
        if (found.height, found.width) != (image.height, image.width):
            raise InputError(
                f"{path} is {found.height}x{found.width} (height x width){turned_hint(found.orientation)}, but "
                f"{entry.file.path} says {image.height}x{image.width}. Restore the image."
            )
        return ImageRecord(
            row=row,
            image_id=image_id,
            split=split,
            path=path.relative_to(self.root).as_posix(),
            height=image.height,
            width=image.width,
            sha256=hash_file(path),
            labels=tuple(sorted(self._id_of_source[number] for number in entry.file.categories_in(image))),
            source_id=image.source_id,
            orientation=found.orientation,
        )

    def ground_truth(self, image_id: str) -> GroundTruth | None:
        """Return the true masks of one image, or None if it has boxes without masks.

        Raises InputError for an unknown image or a malformed mask.
        """
        entry = self._entry(image_id)
        truth = entry.file.ground_truth(entry.image, self._id_of_source)
        if truth is not None and truth.instances:
            check_fits(as_spelled(self.root / entry.path), "masks")
        return truth

    def points(self, image_id: str) -> tuple[Point, ...]:
        """Return the point labels of one image. Raises InputError if the file is missing or a line is malformed."""
        entry = self._entry(image_id)
        path = self.root / "Center_points" / f"{image_id}.txt"
        size = {"height": entry.image.height, "width": entry.image.width}
        points = read_point_file(path, n_categories=len(self.categories), **size)
        check_fits(as_spelled(self.root / entry.path), "points", by_size=False)
        return points

    def _entry(self, image_id: str) -> _Entry:
        if image_id not in self._entries:
            raise InputError(f"{self.root} annotates no image {image_id}. Run prepare again for this data set.")
        return self._entries[image_id]


def _name_in_coco(root: Path, name: str) -> str:
    return name if _annotation_path(root, name).exists() else COCO_SPLITS.get(name, name)


def _annotation_path(root: Path, name: str) -> Path:
    return root / "annotations" / f"instances_{name}.json"


def _entries(file: CocoFile, root: Path, *, folder: str) -> dict[str, _Entry]:
    entries: dict[str, _Entry] = {}
    for image in file.images:
        image_id = Path(image.file_name).stem
        if image_id in entries:
            raise InputError(f"{file.path} lists two images {image_id}. Give their files different names.")
        entries[image_id] = _Entry(image, _path(root, folder, image.file_name), file)
    return entries


def _path(root: Path, folder: str, file_name: str) -> str:
    """Return the path of an image below the root; only the last part of its name if that is where the image is."""
    path, last = f"{folder}/{file_name}", f"{folder}/{Path(file_name).name}"
    return last if path != last and not (root / path).exists() and (root / last).exists() else path
