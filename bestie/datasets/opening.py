"""`open_dataset`: the reader that the `dataset` section of the parameters asks for."""

from bestie.datasets.base import DataSet
from bestie.datasets.coco import CocoDataSet
from bestie.datasets.voc import VOC_CATEGORIES, VocDataSet
from bestie.errors import InputError
from bestie.params import Dataset, Prepare


def open_dataset(dataset: Dataset, prepare: Prepare) -> DataSet:
    """The reader for `dataset.format`, with the image lists and categories of `prepare`.

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
        raise InputError("dataset.format: folder is not read yet; use voc or coco")
    return VocDataSet(dataset.image_root, splits, prepare.categories or VOC_CATEGORIES)
