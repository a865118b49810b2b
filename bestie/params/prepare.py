"""Section `prepare`: image lists, categories, and the generated data set."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from bestie.params.section import Count, CountOrZero, Fraction, Positive, Section, Seed, option


def _class_names(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("must name at least one class; null takes the format's own")
    if not all(name.strip() for name in names) or len(set(names)) < len(names):
        raise ValueError("must name each class once, and none by an empty name")
    return names


ClassNames = Annotated[tuple[str, ...], AfterValidator(_class_names)]


class Shapes(Section):
    """The generated data set."""

    seed: Seed = option(0, "seed of the generator")
    num_train: Count = option(360, "training images")
    num_val: Count = option(120, "validation images")
    min_side_px: Count = option(112, "shortest side of an image in px")
    max_side_px: Count = option(144, "longest side of an image in px")
    min_object_px: Positive | None = option(
        None, "length of the smallest object in px; null: 18 px in an image of 128 px, and in proportion"
    )
    max_objects: Count = option(6, "most objects on an image")
    max_distractors: CountOrZero = option(3, "most objects without a class on an image")
    repeats: Annotated[int, Field(ge=0, le=100)] = option(
        0, "most copies of its badge on the body of an object; 0: a tail mark instead"
    )
    class_colors: bool = option(False, "draw bodies in the hues of their class; false: in any color")
    overlap_fraction: Fraction = option(1 / 3, "part of the images with two touching objects of one class")
    wsss_miou: Annotated[float, Field(ge=0.5, le=1)] = option(0.7, "mIoU of the simulated WSSS maps", "paper, Table 4")


class Folder(Section):
    """The tables of a data set with `dataset.format: folder`; paths are relative to `dataset.root`."""

    labels: Path = option(Path("labels.csv"), "CSV or Parquet with file, labels and, optionally, split")
    points: Path | None = option(None, "CSV or Parquet with file, x, y, label")
    annotations: Path | None = option(None, "true masks in COCO's format, for evaluation only")
    val_fraction: Fraction = option(
        0.0, "part of the images for validation, by the hash of their image_id, if the table has no column split"
    )


class Prepare(Section):
    """Image lists and categories."""

    train_list: str = option("train", "VOC: a file of ImageSets; COCO: an annotation file; folder: a split")
    val_list: str = option("val", "the same for the validation images")
    categories: ClassNames | None = option(None, "class names in order of category_id; null: the format's own")
    limit_train: Count | None = option(None, "take the first so many training images; null: all")
    limit_val: Count | None = option(None, "take the first so many validation images; null: all")
    on_error: Literal["fail", "skip"] = option("fail", "a bad sample: stop, or set it aside with its reason")
    folder: Folder = option(Folder(), "tables of the format `folder`")
    shapes: Shapes = option(Shapes(), "the generated data set")
