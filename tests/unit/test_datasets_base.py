"""An image is read as indexed, or the error names the file that is wrong."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bestie.datasets import image_reading
from bestie.datasets.base import check_categories
from bestie.datasets.image_files import index_files
from bestie.datasets.image_reading import IMAGE_FORMATS, IMAGE_SUFFIXES, image_size, open_image, read_image
from bestie.errors import InputError
from bestie.records import ImageRecord, hash_file

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def indexed(root: Path, name: str) -> ImageRecord:
    height, width = image_size(root / name)
    return ImageRecord(0, "a", "train", name, height, width, hash_file(root / name), (1,))


def test_pixels_are_rgb_and_can_be_written_to(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    found = read_image(tmp_path, indexed(tmp_path, "a.png"))
    assert np.array_equal(found, PIXELS)
    assert found.flags.writeable


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    suffix = "tif" if mode == "CMYK" else "png"
    Image.new("RGB", (3, 2), (255, 255, 255)).convert(mode).save(tmp_path / f"a.{suffix}")
    found = read_image(tmp_path, indexed(tmp_path, f"a.{suffix}"))
    assert np.array_equal(found, np.full((2, 3, 3), 255))


def test_a_palette_with_transparent_entries_is_read_without_complaint(tmp_path: Path) -> None:
    image = Image.fromarray(np.zeros((2, 3), np.uint8))
    image.putpalette([10, 20, 30] * 256)
    image.save(tmp_path / "a.png", transparency=bytes([0, 128]))
    assert read_image(tmp_path, indexed(tmp_path, "a.png")).tolist() == [[[10, 20, 30]] * 3] * 2


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    record = ImageRecord(0, "a", "train", "no/a.jpg", 20, 30, "00", ())
    with pytest.raises(InputError, match=r"no/a\.jpg does not exist"):
        read_image(tmp_path, record)


def test_a_truncated_jpeg_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(PIXELS).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"a\.jpg cannot be decoded"):
        read_image(tmp_path, indexed(tmp_path, "a.jpg"))


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("<html>")
    with pytest.raises(InputError, match=r"a\.jpg is no readable image"):
        image_size(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: dataclasses.replace(r, height=30, width=20), r"is 20x30 .* the index says 30x20"),
        (lambda r: dataclasses.replace(r, sha256="0" * 64), "is another file than the one indexed"),
    ],
)
def test_another_file_than_the_indexed_one_is_named(
    tmp_path: Path, change: Callable[[ImageRecord], ImageRecord], message: str
) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=rf"a\.png {message}"):
        read_image(tmp_path, change(indexed(tmp_path, "a.png")))


def test_huge_images_are_refused_before_they_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    monkeypatch.setattr(image_reading, "MAX_IMAGE_PX", 599)
    with pytest.raises(InputError, match=r"a\.png has 20x30 pixels, more than 599"):
        open_image(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # above twice this, Pillow itself refuses
    with pytest.raises(InputError, match=r"a\.png is too large"):
        open_image(tmp_path / "a.png")


def test_classes_without_a_name_of_their_own_are_refused(tmp_path: Path) -> None:
    check_categories(tmp_path, ["cat", "dog"])
    with pytest.raises(InputError, match=r"has the class 'dog' twice. Give each class a name of its own"):
        check_categories(tmp_path, ["dog", "cat", "dog"])
    with pytest.raises(InputError, match=r"has a class without a name"):
        check_categories(tmp_path, ["cat", ""])


def test_every_format_that_is_opened_is_looked_for_in_folders_and_no_other(tmp_path: Path) -> None:
    format_of = Image.registered_extensions()
    assert {format_of[suffix] for suffix in IMAGE_SUFFIXES} == set(IMAGE_FORMATS)
    for suffix in IMAGE_SUFFIXES:
        Image.new("1" if suffix == ".pbm" else "L", (3, 2)).save(tmp_path / f"{suffix[1:]}{suffix.upper()}")
    records, left_out = index_files([tmp_path], split="new")
    assert [record.image_id for record in records] == sorted(suffix[1:] for suffix in IMAGE_SUFFIXES)
    assert left_out == ()


def test_files_that_are_no_readable_image_are_named_and_hidden_ones_are_none(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "d.png"):
        Image.fromarray(PIXELS).save(tmp_path / name)
    whole = (tmp_path / "b.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(whole[: len(whole) * 2 // 3])  # its header is whole
    (tmp_path / "c.jpg").write_bytes(b"no image")
    (tmp_path / "._a.jpg").write_bytes(b"Mac OS X")
    for name in ("e.HEIC", "f.heic", "notes.txt"):
        (tmp_path / name).write_bytes(b"")

    records, left_out = index_files([tmp_path], split="new")

    assert [(record.row, record.image_id) for record in records] == [(0, "a"), (1, "d")]
    heic, cut, other = left_out
    assert "2 .heic files are not read. Save them as JPEG or PNG" in heic
    assert "b.jpg cannot be decoded" in cut
    assert "c.jpg is no readable image" in other


def test_where_no_image_is_readable_the_reason_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"")
    with pytest.raises(InputError, match=r"holds no image .* 1 .heic files are not read"):
        index_files([tmp_path], split="new")
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"no image")
    with pytest.raises(InputError, match=r"a.jpg is no readable image"):
        index_files([tmp_path / "a.jpg"], split="new")
    with pytest.raises(InputError, match=r"a.jpg is no readable image .* others is readable"):
        index_files([tmp_path / "a.jpg", tmp_path / "b.jpg"], split="new")
