"""A folder of images with a label table, for users without VOC or COCO files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from unicodedata import normalize

from bestie.datasets.base import GroundTruth, check_categories
from bestie.datasets.class_labels import clean_name
from bestie.datasets.coco_file import AnnotatedImage, CocoFile
from bestie.datasets.image_reading import check_fits, check_image, how_stored, image_size
from bestie.datasets.label_table import (
    FOLDER_SPLITS,
    LabeledFile,
    check_names,
    class_names,
    other_splits,
    read_label_table,
    split_images,
)
from bestie.datasets.point_table import PointTable
from bestie.datasets.text_files import as_spelled
from bestie.errors import InputError
from bestie.records import Category, ImageRecord, Point, hash_file


class FolderDataSet:
    """Images anywhere below a folder, named by a label table (`bestie.datasets.label_table`).

    The `image_id` is the path without its suffix, so images in different folders may have the same name. Images without
    labels are allowed. Points come from a point table (`bestie.datasets.point_table`), true masks from a file in COCO's
    format, in which `file_name` is a path as in the label table. Images that this file does not list have no truth.

    Images of all other splits are left out; `other_splits` has their number by split. `without_masks` is the number of
    images whose objects have boxes in the file of true masks, but not all of them a mask.

    Args:
        root: the folder.
        splits: split -> values of the label table's column `split`, joined by ",".
        labels: the label table, CSV or Parquet.
        categories: class names in the order of their category_id; None: those of the table, sorted.
        points: the point table, if there is one.
        annotations: the file of true masks, if there is one.
        val_fraction: part of the images that are for validation, if the table has no column `split`.

    Raises:
        InputError: a table or the file of true masks is missing or malformed, a label is not a category, or no image
            is for training.
    """

    def __init__(
        self,
        root: Path,
        splits: Mapping[str, str] | None = None,
        *,
        labels: Path,
        categories: Sequence[str] | None = None,
        points: Path | None = None,
        annotations: Path | None = None,
        val_fraction: float = 0,
    ) -> None:
        self.root = root
        listed = read_label_table(labels, categories)
        names = class_names(labels, listed, categories)
        check_categories(labels, names)
        self.categories = tuple(Category(k, name, k) for k, name in enumerate(names, start=1))
        self._id_of_name = {category.name: category.category_id for category in self.categories}
        self._files = {entry.image_id: entry for entry in listed}
        wanted = FOLDER_SPLITS if splits is None else splits
        self._samples = split_images(labels, listed, wanted, val_fraction)
        self.other_splits = other_splits(listed, wanted)
        self._points = None if points is None else PointTable(points)
        self._truth = None if annotations is None else TrueMasks(annotations, {entry.file for entry in listed})
        self.without_masks = 0 if self._truth is None else self._truth.without_masks

    def samples(self, split: str) -> tuple[str, ...]:
        """Return the image ids of a split in the order of the table. Raises InputError for an unknown split."""
        if split not in self._samples:
            raise InputError(f"{self.root} has no split '{split}', only {sorted(self._samples)}.")
        return self._samples[split]

    def record(self, image_id: str, *, row: int, split: str) -> ImageRecord:
        """Return the record of one image. Raises InputError if its file is missing or not an image."""
        entry = self._entry(image_id)
        path = self._path(entry)
        if not path.is_file():
            raise InputError(f"{entry.where}: {path} does not exist. Add the image or remove the line.")
        image = check_image(path)
        return ImageRecord(
            row=row,
            image_id=image_id,
            split=split,
            path=path.relative_to(self.root).as_posix(),
            height=image.height,
            width=image.width,
            sha256=hash_file(path),
            labels=tuple(sorted(self._id_of_name[name] for name in entry.labels)),
            source_id=None if self._truth is None else self._truth.number_of(entry.file),
            orientation=image.orientation,
        )

    def ground_truth(self, image_id: str) -> GroundTruth | None:
        """Return the true masks of one image, or None if it has none.

        Raises:
            InputError: they are malformed or do not fit the image.
        """
        entry = self._entry(image_id)
        if self._truth is None:
            return None
        return self._truth.read(entry.file, self._path(entry), self._id_of_name)

    def points(self, image_id: str) -> tuple[Point, ...]:
        """Return the point labels of one image.

        Raises:
            InputError: there is no point table, or the image's points in it are wrong (`PointTable.points_of`).
        """
        entry = self._entry(image_id)
        if self._points is None:
            raise InputError(f"{self.root} has no points. Name their table in prepare.folder.points.")
        path = self._path(entry)
        points = self._points.points_of(entry, image_size(path), self._id_of_name)
        check_fits(path, "points", by_size=False)
        return points

    def _path(self, entry: LabeledFile) -> Path:
        return as_spelled(self.root / entry.file)

    def _entry(self, image_id: str) -> LabeledFile:
        if image_id not in self._files:
            raise InputError(f"{self.root} labels no image {image_id}. Run prepare again for this data set.")
        return self._files[image_id]


class TrueMasks:
    """The masks of a file in COCO's format, by the path of the image.

    Args:
        path: the file.
        files: paths of the images in the label table.

    Raises:
        InputError: the file is missing or malformed, contradicts itself, or lists an image twice or none of `files`.
    """

    def __init__(self, path: Path, files: set[str]) -> None:
        self._file = CocoFile(path, missing="Put it there or correct its name in prepare.folder.annotations.")
        self.without_masks = self._file.without_masks
        self._images: dict[str, AnnotatedImage] = {}
        for image in self._file.images:
            name = normalize("NFC", image.file_name)
            if name in self._images:
                raise InputError(f"{path} lists the image {name} twice. Remove one of them.")
            self._images[name] = image
        if not files & self._images.keys():
            raise InputError(
                f"{path} lists none of the images of the label table. Write file_name as the table writes file."
            )

    def read(self, file: str, path: Path, id_of_name: Mapping[str, int]) -> GroundTruth | None:
        """Return the truth of the image `file`, which is at `path`; None if the file of masks has no masks of it.

        Raises:
            InputError: the file of masks has another size for the image, it is not known which way the masks fit it, an
                annotation has no class of the data set, or a mask is malformed.
        """
        image = self._images.get(file)
        if image is None:
            return None
        if (size := image_size(path)) != (image.height, image.width):
            raise InputError(
                f"{file} is {size[0]}x{size[1]} (height x width){how_stored(path)}, but {self._file.path} says "
                f"{image.height}x{image.width}. Restore the image or correct the annotations."
            )
        names = {number: self._file.category_names[number] for number in self._file.categories_in(image)}
        names = {number: clean_name(name) for number, name in names.items()}
        check_names(names.values(), id_of_name, f"{self._file.path}, {file}")
        truth = self._file.ground_truth(image, {number: id_of_name[name] for number, name in names.items()})
        if truth is not None and truth.instances:
            check_fits(path, "masks")
        return truth

    def number_of(self, file: str) -> int | None:
        """Return the file's own number of an image, or None if the file does not list it."""
        image = self._images.get(file)
        return None if image is None else image.source_id

    def classes_of(self, file: str) -> list[str]:
        """Return the class name of each annotation of an image, crowds included; empty if the image is not listed."""
        image = self._images.get(file)
        annotations = () if image is None else image.annotations
        return [clean_name(self._file.category_names.get(a["category_id"], "")) for a in annotations]
