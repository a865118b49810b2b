"""The choice of a reader by the `dataset` section of the parameters."""

from pathlib import Path

from bestie.datasets.base import DataSet
from bestie.datasets.coco import CocoDataSet
from bestie.datasets.folder import FolderDataSet
from bestie.datasets.voc import VOC_CATEGORIES, VocDataSet
from bestie.errors import InputError
from bestie.params.dataset import Dataset
from bestie.params.prepare import Prepare


def open_dataset(dataset: Dataset, prepare: Prepare) -> DataSet:
    """Return the reader for `dataset.format`, with the image lists and categories of `prepare`.

    Raises:
        InputError: the root, a list or an annotation file is missing or malformed.
    """
    if not dataset.image_root.is_dir():
        raise InputError(
            f"dataset.root: there is no folder {dataset.image_root}; put the data set there or "
            "`bestie profile NAME --set dataset.root=FOLDER`"
        )
    splits = {"train": prepare.train_list, "val": prepare.val_list}
    if dataset.format == "coco":
        return CocoDataSet(dataset.image_root, splits)
    if dataset.format == "folder":
        return _open_folder(dataset.image_root, splits, prepare)
    return VocDataSet(dataset.image_root, splits, prepare.categories or VOC_CATEGORIES)


def _open_folder(root: Path, splits: dict[str, str], prepare: Prepare) -> FolderDataSet:
    tables = prepare.folder
    return FolderDataSet(
        root,
        splits,
        labels=root / tables.labels,
        categories=prepare.categories,
        points=None if tables.points is None else root / tables.points,
        annotations=None if tables.annotations is None else root / tables.annotations,
        val_fraction=tables.val_fraction,
    )
