"""Photographs that are stored turned are read upright, and masks are never guessed to fit one way or the other."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from bestie.datasets.image_files import index_files
from bestie.datasets.image_reading import check_fits, check_image, image_size, read_image
from bestie.datasets.upright import TAG, TURNS, UPRIGHT
from bestie.errors import InputError
from bestie.export.output_folder import link_image
from bestie.records import ImageRecord

SIDE = 24
#: A picture without symmetry, higher than wide, with blocks that survive JPEG.
PICTURE = np.kron(np.random.default_rng(1).integers(0, 2, (4, 3, 3)) * 255, np.ones((SIDE, SIDE, 1))).astype(np.uint8)
HEIGHT, WIDTH = PICTURE.shape[:2]
FORMATS = ("jpg", "png", "webp", "tif")


def store(path: Path, number: int, pixels: np.ndarray = PICTURE) -> Path:
    """Write a picture as a phone does that is held this way: turned back from upright, with the number."""
    exif = Image.Exif()
    exif[TAG] = number
    turn = TURNS.get(number)
    turned = {
        Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270,
        Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90,
    }
    image = Image.fromarray(pixels)
    stored = image if turn is None else image.transpose(turned.get(turn, turn))
    options = {"lossless": True} if path.suffix == ".webp" else {}
    stored.save(path, exif=exif, quality=100, subsampling=0, **options)
    return path


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("number", [UPRIGHT, *TURNS])
def test_it_is_read_upright_with_the_upright_size(tmp_path: Path, number: int, suffix: str) -> None:
    path = store(tmp_path / f"a.{suffix}", number)
    assert image_size(path) == (HEIGHT, WIDTH)
    (record,) = index_files([path], split="val").records
    assert (record.height, record.width) == (HEIGHT, WIDTH)
    found = read_image(Path(), record)
    assert np.abs(found.astype(int) - PICTURE).mean() < 2
    with Image.open(path) as image:
        assert np.array_equal(found, np.array(ImageOps.exif_transpose(image).convert("RGB")))


@pytest.mark.parametrize("damage", [b"Exif\0\0broken", b"Exif\0\0" + bytes(20)])
def test_damaged_exif_counts_as_upright(tmp_path: Path, damage: bytes) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "a.jpg", exif=damage)
    assert check_image(tmp_path / "a.jpg") == (HEIGHT, WIDTH, UPRIGHT)


def test_a_number_that_exif_does_not_know_counts_as_upright(tmp_path: Path) -> None:
    assert check_image(store(tmp_path / "a.jpg", 9)) == (HEIGHT, WIDTH, UPRIGHT)


def fits(path: Path, *, by_size: bool) -> bool:
    try:
        check_fits(path, "masks", by_size=by_size)
    except InputError as error:
        assert f"{path} is stored with the EXIF orientation" in str(error)
        assert "masks" in str(error)
        return False
    return True


@pytest.mark.parametrize("number", [UPRIGHT, *TURNS])
def test_masks_fit_one_way_if_their_size_shows_it(tmp_path: Path, number: int) -> None:
    oblong, square = store(tmp_path / "a.jpg", number), store(tmp_path / "b.jpg", number, PICTURE[:WIDTH])
    assert fits(oblong, by_size=True) == (number not in (2, 3, 4))
    assert fits(square, by_size=True) == (number == UPRIGHT)
    assert fits(oblong, by_size=False) == (number == UPRIGHT)


@pytest.mark.parametrize(("suffix", "written"), [("jpg", "a.jpg"), ("png", "a.png"), ("webp", "a.png")])
def test_an_export_holds_an_upright_copy_of_a_turned_image_and_links_the_others(
    tmp_path: Path, suffix: str, written: str
) -> None:
    path = store(tmp_path / f"a.{suffix}", 6)
    (record,) = index_files([path], split="val").records
    link_image(Path(), record, tmp_path / "out" / "a")
    with Image.open(tmp_path / "out" / written) as image:
        assert image.getexif().get(TAG, UPRIGHT) == UPRIGHT
        assert np.abs(np.array(image.convert("RGB")).astype(int) - PICTURE).mean() < 8
    (upright,) = index_files([store(tmp_path / "b.jpg", UPRIGHT)], split="val").records
    link_image(Path(), upright, tmp_path / "out" / "b")
    assert (tmp_path / "out" / "b.jpg").is_symlink()


def test_an_index_from_before_orientations_were_known_means_upright_images() -> None:
    assert ImageRecord(0, "a", "val", "a.jpg", 3, 4, "00", ()).orientation == UPRIGHT
