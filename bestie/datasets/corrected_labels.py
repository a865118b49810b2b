"""Labels that people corrected in other tools: COCO's annotations (CVAT's too, also zipped), Label Studio's JSON."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from io import BytesIO
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

import numpy as np
from jaxtyping import Bool

from bestie.datasets.coco_file import CocoFile
from bestie.datasets.label_studio import labeled_regions
from bestie.errors import InputError
from bestie.records import Category, ImageRecord

#: What Label Studio puts before the names of files that were uploaded.
UPLOADED = re.compile(r"^[0-9a-f]{8}-")
MAX_JSON_BYTES = 2**31
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class LabeledMask:
    """A label: its class and its mask."""

    category_id: int
    mask: Bool[np.ndarray, "h w"]


@dataclass(frozen=True)
class CorrectedImage:
    """An image that somebody looked at, with all of its labels."""

    record: ImageRecord
    labels: list[LabeledMask]


def read_corrected(
    path: Path, records: Sequence[ImageRecord], categories: Sequence[Category]
) -> Iterator[CorrectedImage]:
    """Yield each image of a file with its labels.

    Images are matched by the path in the file or, if that is none, by the file's name; classes by their name. In COCO's
    format every listed image counts as looked at. Of Label Studio, tasks without an annotation are left out, and the
    last annotation of a task counts. What COCO calls a crowd is an ordinary label: CVAT writes brush masks so.

    Args:
        path: a `.json`, or a `.zip` with one `.json` in it.
        records: the images that labels are for.
        categories: the classes.

    Raises:
        InputError: the file is neither of these, names an image or a class that there is none of, has an image twice,
            or has a label without a mask or of another size.
    """
    with TemporaryDirectory() as folder:
        source = _unpacked(path, Path(folder))
        known = _Known(path, records, categories)
        with source.open("rb") as file:
            is_list = file.read(64).removeprefix(BOM).lstrip().startswith(b"[")
        found = _label_studio(_parse(source, path), known) if is_list else _coco(source, known)
        seen: set[int] = set()
        try:
            for image in found:
                if image.record.row in seen:
                    raise InputError(f"{path} has the image {image.record.image_id} twice. Remove one of them.")
                seen.add(image.record.row)
                yield image
        except InputError as error:  # in an archive, it is the archive that people know
            raise InputError(str(error).replace(str(source), str(path))) from error


class _Known:
    """The images and classes that a file can name."""

    def __init__(self, path: Path, records: Sequence[ImageRecord], categories: Sequence[Category]) -> None:
        self.path = path
        self._by_path = {record.path: record for record in records}
        self._by_name: dict[str, list[ImageRecord]] = {}
        for record in records:
            self._by_name.setdefault(PurePosixPath(record.path).name, []).append(record)
        self._ids = {category.name: category.category_id for category in categories}

    def image(self, name: str) -> ImageRecord:
        if name in self._by_path:
            return self._by_path[name]
        last = PurePosixPath(name).name
        found = self._by_name.get(last) or self._by_name.get(UPLOADED.sub("", last)) or []
        if len(found) == 1:
            return found[0]
        why = "several training images have" if found else "no training image has"
        raise InputError(f"{self.path}: {why} the name {name[:80]!r}. Export from the project with these images.")

    def category(self, name: str) -> int:
        if name not in self._ids:
            close = get_close_matches(name, self._ids, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else f" There are {', '.join(self._ids)}."
            raise InputError(f"{self.path}: there is no class {name[:80]!r}.{hint}")
        return self._ids[name]


def _unpacked(path: Path, folder: Path) -> Path:
    """Return the JSON file: the one in an archive is written to `folder`."""
    if not path.is_file():
        raise InputError(f"{path} does not exist. Correct the path.")
    if path.suffix.lower() != ".zip":
        return path
    try:
        with ZipFile(BytesIO(path.read_bytes())) as archive:
            files = [each for each in archive.infolist() if each.filename.endswith(".json")]
            if len(files) != 1 or files[0].file_size > MAX_JSON_BYTES:
                raise InputError(f"{path} holds {len(files)} JSON files. Unpack it, and give the one with the labels.")
            target = folder / "labels.json"
            target.write_bytes(archive.read(files[0]))
    except InputError:
        raise
    except Exception as error:  # the parser of archives can raise anything for a hostile file
        raise InputError(f"{path} is no readable zip archive ({error}). Export it again.") from error
    return target


def _parse(source: Path, path: Path) -> Any:
    try:
        return json.loads(source.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(f"{path} is no valid JSON ({error}). Export it again.") from error


def _coco(source: Path, known: _Known) -> Iterator[CorrectedImage]:
    file = CocoFile(source, missing="")
    for image in file.images:
        record = known.image(image.file_name)
        if (image.height, image.width) != (record.height, record.width):
            raise InputError(
                f"{known.path}: {record.image_id} is {image.height}x{image.width} (height x width) there, here it is "
                f"{record.height}x{record.width}. Give the labels of these images."
            )
        ids = {number: known.category(file.category_names[number]) for number in file.categories_in(image)}
        truth = file.ground_truth(image, ids)
        if truth is None:
            number = next((each["id"] for each in image.annotations if not each["segmentation"]), "of a box")
            raise InputError(
                f"{known.path}: {record.image_id} has a label without a mask. Export masks or polygons, or remove the "
                f"annotation {number}: tools may leave nothing of a label of a few pixels."
            )
        yield CorrectedImage(record, [LabeledMask(each.category_id, each.mask) for each in truth.instances])


def _label_studio(tasks: list[Any], known: _Known) -> Iterator[CorrectedImage]:
    for number, task in enumerate(tasks, start=1):
        where = f"{known.path}, task {number}"
        try:
            done = [each for each in task["annotations"] if not each.get("was_cancelled")]
            if not done:
                continue
            name = next(value for value in task["data"].values() if isinstance(value, str))
            record = known.image(name.rpartition("?d=")[2])
            regions = labeled_regions(done[-1]["result"], (record.height, record.width), where)
            labels = [LabeledMask(known.category(name), mask) for name, mask in regions]
        except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as error:
            raise InputError(
                f"{where} is not as Label Studio writes it ({error!r}). Export as JSON, not as JSON-MIN."
            ) from error
        yield CorrectedImage(record, [each for each in labels if each.mask.any()])
