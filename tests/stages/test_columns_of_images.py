"""The cues and labels of each image come from their table one image after the other."""

from pathlib import Path

import pytest

from bestie.artifacts.image_index import columns_of, read_images
from bestie.artifacts.schemas import CUES
from bestie.artifacts.tables import iter_images


@pytest.mark.parametrize("which", [slice(None), slice(1, None, 3), slice(0, 1), slice(0, 0)])
def test_each_image_has_its_own_cues_whichever_images_are_asked_for(finished_run: Path, which: slice):
    table = Path("data", "extract_cues", "cues.parquet")
    images = read_images(Path("data", "prepare", "images.parquet"), "train")
    expected = dict(iter_images(table, CUES))
    assert 0 < len(expected) < len(images)  # some have none
    found = list(columns_of(images[which], table, CUES))
    assert len(found) == len(images[which])
    for image, cues in zip(images[which], found, strict=True):
        wanted = expected.get(image.row)
        assert (cues is None) == (wanted is None)
        if cues is not None and wanted is not None:
            assert {name: cues[name].tolist() for name in cues} == {name: wanted[name].tolist() for name in wanted}
