"""Gray images of 16 and 32 bits are read as their 8-bit twin where their range is sure, and refused otherwise."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bestie.datasets.image_reading import check_image, read_image
from bestie.errors import InputError
from bestie.records import ImageRecord, hash_file

GRAY = np.arange(0, 256, 2, dtype=np.uint8).reshape(8, 16)


def read(path: Path) -> np.ndarray:
    height, width, _ = check_image(path)
    return read_image(path.parent, ImageRecord(0, "a", "val", path.name, height, width, hash_file(path), ()))


@pytest.mark.parametrize(
    ("suffix", "values"),
    [
        ("png", GRAY.astype(np.uint16) * 257),
        ("tif", GRAY.astype(np.uint16) * 257),
        ("tif", GRAY.astype(np.uint16)),  # 8 bits, stored in 16
        ("tif", GRAY.astype(np.int32) * 257),
        ("tif", GRAY.astype(np.int32)),
        ("tif", GRAY.astype(np.float32) / 255),
        ("tif", GRAY.astype(np.float32)),
    ],
)
def test_it_is_the_8_bit_image(tmp_path: Path, suffix: str, values: np.ndarray) -> None:
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    assert np.array_equal(read(tmp_path / f"a.{suffix}"), np.repeat(GRAY[..., None], 3, axis=2))


def test_16_bits_that_the_other_end_first_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5 16 8 65535\n" + (GRAY.astype(np.uint16) * 257).astype(">u2").tobytes())
    assert np.array_equal(read(tmp_path / "a.pgm")[..., 0], GRAY)


@pytest.mark.parametrize(
    "values",
    [
        GRAY.astype(np.uint16) * 16,  # 12 bits
        GRAY.astype(np.int32) * 1000,
        GRAY.astype(np.int32) - 5,
        GRAY.astype(np.float32) / 100,  # 0 to 2.54
        np.where(GRAY > 9, np.nan, GRAY.astype(np.float32)),
        np.where(GRAY > 9, np.inf, GRAY.astype(np.float32)),
    ],
)
def test_a_range_that_nothing_shows_is_refused(tmp_path: Path, values: np.ndarray) -> None:
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"a\.tif has \w+ values from .* Scale them to 0 to 255"):
        check_image(tmp_path / "a.tif")


def test_black_is_black_in_every_depth(tmp_path: Path) -> None:
    for kind in (np.uint16, np.int32, np.float32):
        Image.fromarray(np.zeros((2, 3), kind)).save(tmp_path / "a.tif")
        assert not read(tmp_path / "a.tif").any()
