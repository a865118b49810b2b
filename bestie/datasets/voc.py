"""PASCAL VOC 2012, or other data in the same folders and files (Section 4.1)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException
from jaxtyping import UInt8

from bestie.datasets.base import MISSING_LIST, GroundTruth, TruthInstance, check_categories
from bestie.datasets.image_reading import IMAGE_SUFFIXES, check_fits, check_image, image_size
from bestie.datasets.label_png import check_classes, read_label_png
from bestie.datasets.points import read_point_file
from bestie.datasets.text_files import as_spelled, is_path_below, read_bytes, read_text
from bestie.errors import InputError
from bestie.records import VOID, Category, ImageRecord, Point, hash_file

VOC_CATEGORIES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)

VOC_SUFFIXES = tuple(each for suffix in IMAGE_SUFFIXES for each in (suffix, suffix.upper()))


class VocDataSet:
    """Images, labels, masks and points in VOC's layout.

    The labels of an image are the names of the objects, difficult ones included, in `Annotations/<id>.xml`. An instance
    in `SegmentationObject/<id>.png` has the class that most of its pixels have in `SegmentationClass/<id>.png`; 255 is
    void in both. `Center_points/<id>.txt` holds point labels.

    Args:
        root: the folder with `JPEGImages/` and `Annotations/`.
        splits: split -> the names of its image lists in `ImageSets/Segmentation/` (otherwise in `ImageSets/Main/`),
            joined by ",". An image that several lists of a split name counts once.
        categories: class names in the order of their values in `SegmentationClass`, from 1.
        missing: what to do if a list does not exist, for the message.

    Raises:
        InputError: a list is missing or empty, two splits share an image, or there are too many categories.
    """

    def __init__(
        self,
        root: Path,
        splits: Mapping[str, str] | None = None,
        categories: Sequence[str] = VOC_CATEGORIES,
        *,
        missing: str = MISSING_LIST,
    ) -> None:
        self.root, self._missing = root, missing
        check_categories(root, categories)
        self.categories = tuple(Category(k, name, k) for k, name in enumerate(categories, start=1))
        self._id_of_name = {category.name: category.category_id for category in self.categories}
        wanted = {"train": "train", "val": "val"} if splits is None else splits
        self._samples = {split: self._read_lists(names) for split, names in wanted.items()}
        self._refuse_shared_images()

    def samples(self, split: str) -> tuple[str, ...]:
        """Return the image ids of a split in the order of its lists. Raises InputError for an unknown split."""
        if split not in self._samples:
            raise InputError(f"{self.root} has no split '{split}', only {sorted(self._samples)}.")
        return self._samples[split]

    def record(self, image_id: str, *, row: int, split: str) -> ImageRecord:
        """Return the record of one image; an image without objects is allowed outside the split "train".

        Raises:
            InputError: the image or its annotation is missing or malformed, the name of an object is not a category,
                or a training image has no label.
        """
        path = self._image_path(image_id)
        labels = self._labels(image_id)
        if split == "train" and not labels:
            raise InputError(
                f"{self._annotation_path(image_id)} names no object, so the training image {image_id} has no "
                "label. Add one or take the image off the list."
            )
        image = check_image(path)
        return ImageRecord(
            row=row,
            image_id=image_id,
            split=split,
            path=path.relative_to(self.root).as_posix(),
            height=image.height,
            width=image.width,
            sha256=hash_file(path),
            labels=labels,
            orientation=image.orientation,
        )

    def ground_truth(self, image_id: str) -> GroundTruth | None:
        """Return the true masks of one image, or None unless it has both of its PNG files.

        Raises:
            InputError: one of them is malformed, or they contradict each other or the image.
        """
        class_path = self.root / "SegmentationClass" / f"{image_id}.png"
        object_path = self.root / "SegmentationObject" / f"{image_id}.png"
        if not (class_path.is_file() and object_path.is_file()):
            return None
        path = self._image_path(image_id)
        height, width = image_size(path)
        check_fits(path, "masks")
        semantic = read_label_png(class_path, height=height, width=width)
        objects = read_label_png(object_path, height=height, width=width)
        check_classes(class_path, semantic, n_categories=len(self.categories))
        ids = np.setdiff1d(objects, [0, VOID])
        instances = tuple(self._instance(objects == k, semantic, f"{object_path}, object {k}") for k in ids)
        return GroundTruth(instances, semantic)

    def points(self, image_id: str) -> tuple[Point, ...]:
        """Return the point labels of one image. Raises InputError if the file is missing or a line is malformed."""
        image = self._image_path(image_id)
        height, width = image_size(image)
        path = self.root / "Center_points" / f"{image_id}.txt"
        points = read_point_file(path, n_categories=len(self.categories), height=height, width=width)
        check_fits(image, "points", by_size=False)
        return points

    def _instance(self, mask: np.ndarray, semantic: UInt8[np.ndarray, "h w"], where: str) -> TruthInstance:
        counts = np.bincount(semantic[mask], minlength=VOID + 1)
        counts[[0, VOID]] = 0
        if not counts.any():
            raise InputError(f"{where} covers no class of SegmentationClass. Correct one of the two masks.")
        return TruthInstance(int(counts.argmax()), mask)

    def _labels(self, image_id: str) -> tuple[int, ...]:
        path = self._annotation_path(image_id)
        ids = set()
        for entry in _parse_xml(path).iterfind("object"):
            if (entry.findtext("deleted") or "").strip() == "1":  # as LabelMe keeps what was removed
                continue
            name = (entry.findtext("name") or "").strip()
            if name not in self._id_of_name:
                raise InputError(
                    f"{path} labels an object '{name}', which is no category of the data set. "
                    "Correct the name or prepare.categories."
                )
            ids.add(self._id_of_name[name])
        return tuple(sorted(ids))

    def _annotation_path(self, image_id: str) -> Path:
        return self.root / "Annotations" / f"{image_id}.xml"

    def _image_path(self, image_id: str) -> Path:
        usual = self.root / "JPEGImages" / f"{image_id}{VOC_SUFFIXES[0]}"
        for suffix in VOC_SUFFIXES:
            path = self.root / "JPEGImages" / f"{image_id}{suffix}"
            if path.is_file():
                return path
        if (path := as_spelled(usual)).is_file():
            return path
        raise InputError(f"{usual} does not exist, but an image list names it. Add the image or correct the list.")

    def _read_lists(self, names: str) -> tuple[str, ...]:
        ids: dict[str, None] = {}
        for name in names.split(","):
            ids |= dict.fromkeys(self._read_list(name.strip()))
        return tuple(ids)

    def _read_list(self, name: str) -> list[str]:
        folder = self.root / "ImageSets"
        for path in (folder / "Segmentation" / f"{name}.txt", folder / "Main" / f"{name}.txt"):
            if path.is_file():
                lines = read_text(path, missing="Correct the list's name.").splitlines()
                if ids := [_image_id(path, line) for line in lines if line.strip()]:
                    return ids
                raise InputError(f"{path} names no image. Fill the list or choose another one.")
        raise InputError(
            f"There is no image list {folder / 'Segmentation' / name}.txt, nor one in Main. {self._missing}"
        )

    def _refuse_shared_images(self) -> None:
        split_of: dict[str, str] = {}
        for split, ids in self._samples.items():
            for image_id in ids:
                if image_id in split_of:
                    raise InputError(
                        f"The image {image_id} of {self.root} is in the splits '{split_of[image_id]}' and "
                        f"'{split}'. Take it off one of the lists."
                    )
                split_of[image_id] = split


def _image_id(path: Path, line: str) -> str:
    """Return the id in a list's line: `<id>`, `<id>.jpg`, or paths (`/JPEGImages/<id>.jpg /SegmentationClass/...`)."""
    first = line.split()[0]
    named_file = "/" in first or Path(first).suffix.lower() in IMAGE_SUFFIXES
    image_id = Path(first).stem if named_file else first
    if not is_path_below(f"{image_id}.jpeg"):
        raise InputError(f"{path} has the line {line[:80]!r}, which is no image's name. Correct the list.")
    return image_id


def _parse_xml(path: Path) -> Element:
    text = read_bytes(path, missing="Without it the image has no labels: add it or take the image off the list.")
    try:
        return ElementTree.fromstring(text)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise InputError(f"{path} is no acceptable XML file ({error}). Restore the annotation.") from error
