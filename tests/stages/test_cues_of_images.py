"""The cues of each image come from the table one image after the other."""

from pathlib import Path

import pytest

from bestie.artifacts.schemas import CUES
from bestie.artifacts.tables import iter_images, read_images
from bestie.records import of_split
from stages.make_pseudo_labels import NO_CUES, cues_of


@pytest.mark.parametrize("which", [slice(None), slice(1, None, 3), slice(0, 1), slice(0, 0)])
def test_each_image_has_its_own_cues_whichever_images_are_asked_for(finished_run: Path, which: slice):
    table = Path("data", "extract_cues", "cues.parquet")
    images = of_split(read_images(Path("data", "prepare", "images.parquet")), "train")
    expected = dict(iter_images(table, CUES))
    assert 0 < len(expected) < len(images)  # some have none
    found = list(cues_of(images[which], table))
    assert len(found) == len(images[which])
    for image, cues in zip(images[which], found, strict=True):
        wanted = expected.get(image.row, NO_CUES)
        assert {name: cues[name].tolist() for name in NO_CUES} == {name: wanted[name].tolist() for name in NO_CUES}
