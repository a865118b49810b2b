"""Import weakly supervised semantic maps: `python -m stages.import_wsss`.

Any WSSS method that writes one palette PNG or NPY file per training image will do, or the stage `make_wsss` before this
one. Every map is checked against the image index; if one is wrong, nothing is written.
"""

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from bestie.artifacts.image_index import read_images
from bestie.artifacts.map_layout import layout_of
from bestie.artifacts.maps import MapReader, MapWriter
from bestie.artifacts.paths import OWN_MAPS
from bestie.artifacts.schemas import WSSS_SUMMARY
from bestie.artifacts.tables import TableWriter, read_categories
from bestie.datasets.upright import UPRIGHT, check_fits_one_way, turned_hint
from bestie.datasets.wsss import find_wsss, map_numbers, read_wsss
from bestie.errors import InputError
from bestie.params.dataset import Dataset
from bestie.params.import_wsss import ImportWsss
from bestie.records import VOID, ImageRecord, hash_file
from bestie.runtime.progress import track
from bestie.runtime.settings import Settings
from bestie.runtime.stage import folder, run_stage


def main(_dataset: Dataset, params: ImportWsss, settings: Settings) -> None:
    """Copy the maps of all training images into one Zarr array.

    Raises:
        InputError: there is no folder of maps, the map of an image is missing or wrong, or none shows a class.
    """
    index = folder("prepare") / "images.parquet"
    every = read_images(index)
    records = every.of_split("train")
    names = [category.name for category in read_categories(folder("prepare") / "categories.parquet")]
    numbers = map_numbers(names, params.class_numbers)
    own = read_own_maps() if params.source == OWN_MAPS else None
    if not params.source.is_dir():
        raise InputError(f"import_wsss.source: there is no folder {params.source}; correct the parameter")
    layout = layout_of(every.sizes_hw)
    out = folder("import_wsss")
    maps = MapWriter(out / "maps.zarr", {"semantic": ("uint8", VOID)}, len(every), layout)
    shown_px = void_px = 0
    with maps, TableWriter(out / "summary.parquet", WSSS_SUMMARY) as summary:
        for record in track(records, "import_wsss", as_json=settings.json_progress):
            if own is not None:
                semantic = own.read(record.row, "semantic", record.height, record.width)
                sha256 = hashlib.sha256(semantic.tobytes()).hexdigest()
            else:
                path = find_wsss(params.source, record.image_id)
                semantic = read_map(path, record, numbers)
                sha256 = hash_file(path)
            maps.write(record.row, "semantic", semantic)
            counts = np.bincount(semantic.ravel(), minlength=256)
            shown_px, void_px = shown_px + int(counts[1:VOID].sum()), void_px + int(counts[VOID])
            summary.append(
                {
                    "image_id": record.image_id,
                    "row": record.row,
                    "category_px": counts[1 : len(names) + 1].tolist(),
                    "background_px": int(counts[0]),
                    "void_px": int(counts[VOID]),
                    "sha256": sha256,
                }
            )
        if own is None and void_px and not shown_px:
            raise InputError(
                f"no map in {params.source} shows a class, only 0 (background) and {VOID} (void). Give the pixels of "
                "each class its number: masks of a single class have 1, not 255."
            )


def read_map(path: Path, record: ImageRecord, numbers: Sequence[int]) -> UInt8[np.ndarray, "h w"]:
    """Return the map of an image.

    Raises:
        InputError: it is wrong, or the image is stored turned, and it is not known which way the map fits.
    """
    size = (record.height, record.width)
    check_fits_one_way(Path(record.path), record.orientation, size, f"map {path}", by_size=True)
    try:
        return read_wsss(path, height=record.height, width=record.width, numbers=numbers)
    except InputError as error:
        if record.orientation == UPRIGHT:
            raise
        raise InputError(f"{error} The image is read upright{turned_hint(record.orientation)}.") from error


def read_own_maps() -> MapReader:
    """Return a reader of the maps of `make_wsss`. Raises InputError if it has not made any."""
    reader = MapReader(OWN_MAPS)
    if not reader.attributes.get("own"):
        raise InputError(f"{OWN_MAPS} holds no own maps; run make_wsss first, with this import_wsss.source")
    return reader


if __name__ == "__main__":
    run_stage("import_wsss", ImportWsss, main, sys.argv[1:])
