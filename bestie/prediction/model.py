"""A trained model for Python: `bestie.load(path).predict(images)`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from bestie.artifacts.paths import folder
from bestie.artifacts.tables import read_categories
from bestie.artifacts.weights import load_weights, save_weights
from bestie.datasets.image_files import is_image_name
from bestie.datasets.image_reading import pixels_of, read_pixels
from bestie.errors import InputError
from bestie.prediction.found import Found
from bestie.prediction.loading import READING, Predictor, Reading, find_reading, load_predictor, project_of
from bestie.records import Category, ImageRecord
from bestie.training.saved_models import stored_categories

CATEGORIES = folder("prepare") / "categories.parquet"

#: An image: a file, Pillow's image, or RGB pixels, uint8 `h w 3`.
AnImage = str | Path | Image.Image | np.ndarray


@dataclass(frozen=True)
class Model:
    """A trained network or Mask R-CNN, ready to predict.

    Attributes:
        path: the folder of weights that it was loaded from.
        predictor: the model itself.
        categories: its classes, category_id 1 first.
        reading: how its answers are read, and which file says so; see `find_reading`.
    """

    path: Path
    predictor: Predictor
    categories: list[Category]
    reading: Reading

    @property
    def names(self) -> list[str]:
        """The names of the classes, category_id 1 first."""
        return [category.name for category in self.categories]

    @overload
    def predict(self, images: AnImage) -> Found: ...

    @overload
    def predict(self, images: list[AnImage]) -> list[Found]: ...

    def predict(self, images: AnImage | list[AnImage]) -> Found | list[Found]:
        """Find the instances of an image, or of each of a list of images.

        Args:
            images: files (read upright, as EXIF says), Pillow's images, or RGB pixels (uint8 `h w 3`, 0..255). For a
                folder, or more images than fit into memory at once, see `stream`.

        Returns:
            All instances of the image, best first; for a list, a list of such results. Many scores are low:
            `Found.shown` and `Found.above` leave instances out.

        Raises:
            InputError: an image cannot be read, or an array is of another type or shape.
        """
        if isinstance(images, (str, Path)) and Path(images).is_dir():
            raise InputError(
                f"{images} is a folder. Take stream({str(images)!r}), which yields a result for each image."
            )
        if isinstance(images, AnImage):
            return self._find(images)
        return list(self.stream(images))

    def stream(self, images: Iterable[AnImage] | str | Path) -> Iterator[Found]:
        """Yield the result of each image in turn, which holds one image at a time.

        Args:
            images: see `predict`; or a folder, which stands for the images in it, ordered by name.

        Raises:
            InputError: see `predict`; or the folder holds no image.
        """
        if isinstance(images, (str, Path)):
            images = _images_in(Path(images))
        for image in images:
            yield self._find(image)

    def save(self, path: Path | str) -> None:
        """Write the model with its classes and how its answers are read, for use outside of its project.

        Raises InputError if something else is at `path`.
        """
        target = Path(path)
        if target.exists():
            raise InputError(f"{target} exists. Remove it, or give another name.")
        tensors, attributes = load_weights(self.path)
        attributes[READING] = self.reading.params.model_dump(mode="json")
        attributes["categories"] = [{"name": each.name, "source_id": each.source_id} for each in self.categories]
        save_weights(target, tensors, attributes)

    def _find(self, image: AnImage) -> Found:
        pixels, path = _pixels(image)
        height, width = pixels.shape[:2]
        name = "image" if path is None else path.stem
        source = "" if path is None else path.as_posix()
        record = ImageRecord(0, name, "predict", source, height, width, "", ())
        rows = self.predictor.find_in(torch.from_numpy(pixels).permute(2, 0, 1), record)
        rows = sorted(rows, key=lambda row: -row["score"])
        kept = pixels if path is None else None
        return Found(record, rows, self.categories, self.predictor.shown_score, kept)


def load_model(path: Path | str, *, device: str = "auto", categories: Path | None = None) -> Model:
    """Load a trained network (`network.zarr`) or Mask R-CNN (`detector.zarr`).

    Args:
        path: the folder of weights.
        device: `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, ...
        categories: a `categories.parquet` with other class names than those in the model's file.

    Raises:
        InputError: the weights are missing, damaged, or those of a classifier; there is no such device; or the file of
            categories does not have the model's number of classes.
    """
    path = Path(path)
    reading = find_reading(path)
    predictor = load_predictor(path, device=device, reading=reading)
    return Model(path, predictor, _categories(path, predictor.num_classes, given=categories), reading)


def _categories(path: Path, num_classes: int, *, given: Path | None) -> list[Category]:
    """Return the classes of a model: those of the file `given`, otherwise those that the model's own file names.

    A model that does not name them has those of its project, or numbers if it lies in none.
    """
    if given is None and (stored := stored_categories(path)):
        return stored
    project = project_of(path)
    file = project / CATEGORIES if given is None and project else given
    if file is None or (given is None and not file.is_file()):
        return [Category(number, f"class {number}", number) for number in range(1, num_classes + 1)]
    found = read_categories(file)
    if len(found) != num_classes:
        raise InputError(
            f"{file} names {len(found)} classes, the model has {num_classes}. Give the file of the model's own "
            "run with --categories."
        )
    return found


def _images_in(path: Path) -> list[AnImage]:
    if not path.is_dir():
        raise InputError(f"{path} is no folder. Correct the path, or give a list of images.")
    found: list[AnImage] = [each for each in sorted(path.iterdir()) if is_image_name(each)]
    if not found:
        raise InputError(f"{path} holds no image. Correct the path.")
    return found


def _pixels(image: AnImage) -> tuple[UInt8[np.ndarray, "h w 3"], Path | None]:
    """Return the pixels of an image, and its file if it is one."""
    if isinstance(image, (str, Path)):
        return read_pixels(Path(image)), Path(image)
    if isinstance(image, Image.Image):
        return pixels_of(image), None
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return np.ascontiguousarray(image), None
    described = f"an array of {image.dtype} {image.shape}" if isinstance(image, np.ndarray) else repr(type(image))
    raise InputError(
        f"{described} is no image. Give a file, a PIL image, or RGB pixels as uint8 of shape (height, width, 3)."
    )
