"""WSSS maps: the formats in use, and an error that names the file for everything else."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bestie.datasets.image_reading import image_size
from bestie.datasets.wsss import find_wsss, map_numbers, read_wsss
from bestie.errors import InputError

LABELS = np.array([[0, 1, 255], [2, 0, 1]], np.uint8)


def read(path: Path) -> np.ndarray:
    return read_wsss(path, height=2, width=3, numbers=range(1, 3))


def save_palette(path: Path) -> None:
    image = Image.fromarray(LABELS)
    image.putpalette([200] * 768)
    image.save(path)


def test_palette_and_grey_png_and_npy_mean_the_same(tmp_path: Path) -> None:
    save_palette(tmp_path / "palette.png")
    Image.fromarray(LABELS).save(tmp_path / "grey.png")
    for dtype in ("uint8", "int64", "float32"):
        np.save(tmp_path / f"{dtype}.npy", LABELS.astype(dtype))
    for path in tmp_path.iterdir():
        found = read(path)
        assert found.dtype == np.uint8
        assert np.array_equal(found, LABELS)


def test_classes_may_have_other_numbers_on_the_maps(tmp_path: Path) -> None:
    np.save(tmp_path / "voc.npy", np.array([[0, 17, 255], [10, 0, 17]]))
    found = read_wsss(tmp_path / "voc.npy", height=2, width=3, numbers=[17, 10])
    np.testing.assert_array_equal(found, LABELS)
    np.save(tmp_path / "other.npy", np.array([[0, 1, 255], [10, 0, 17]]))
    with pytest.raises(InputError, match=r"other.npy has the class 1, but only 0, 10, 17 and 255 .*class_numbers"):
        read_wsss(tmp_path / "other.npy", height=2, width=3, numbers=[17, 10])


def test_every_class_has_a_number_on_the_maps_or_none_has() -> None:
    assert map_numbers(["sheep", "cow"], None) == [1, 2]
    assert map_numbers(["sheep", "cow"], {"cow": 10, "sheep": 17}) == [17, 10]
    with pytest.raises(InputError, match="class_numbers has no number for the class 'cow', and the classes are sheep"):
        map_numbers(["sheep", "cow"], {"sheep": 17})
    with pytest.raises(InputError, match="class_numbers has a number for the class 'dog'"):
        map_numbers(["sheep"], {"sheep": 17, "dog": 12})


def test_a_map_is_found_as_png_or_npy_or_reported(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", LABELS)
    assert find_wsss(tmp_path, "a") == tmp_path / "a.npy"
    save_palette(tmp_path / "a.png")
    assert find_wsss(tmp_path, "a") == tmp_path / "a.png"
    with pytest.raises(InputError, match=r"has no WSSS map b\.png or b\.npy"):
        find_wsss(tmp_path, "b")
    for path in (tmp_path / "b.png", tmp_path / "b.npy"):
        with pytest.raises(InputError, match=rf"{path.name} does not exist"):
            read(path)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS[:1], r"has the shape \(1, 3\), but its image is \(2, 3\)"),
        (LABELS[None], r"has the shape \(1, 2, 3\)"),
        (LABELS + np.uint8(1), "has the class 3, but only 0 to 2 and 255"),
        (LABELS.astype(int) - 1, "has the class -1"),
        (np.where(LABELS == 2, np.nan, LABELS), "float64 values that are NaN or no whole numbers"),
        (LABELS / 2, "no whole numbers"),
        (np.full((2, 3), np.inf), "has the class inf"),
        (np.full((2, 3), "cat"), "holds no array of numbers"),
    ],
)
def test_wrong_arrays_are_named(tmp_path: Path, labels: np.ndarray, message: str) -> None:
    np.save(tmp_path / "a.npy", labels)
    with pytest.raises(InputError, match=rf"a\.npy .*{message}"):
        read(tmp_path / "a.npy")


def test_a_map_of_another_size_or_with_colours_is_named(tmp_path: Path) -> None:
    Image.new("L", (2, 2)).save(tmp_path / "small.png")
    with pytest.raises(InputError, match=r"small\.png has the shape \(2, 2\)"):
        read(tmp_path / "small.png")
    Image.new("RGB", (3, 2)).save(tmp_path / "rgb.png")
    with pytest.raises(InputError, match=r"rgb\.png has the color mode RGB"):
        read(tmp_path / "rgb.png")


def test_damaged_files_are_named_and_pickles_not_opened(tmp_path: Path) -> None:
    save_palette(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:-30])
    with pytest.raises(InputError, match=r"cut\.png cannot be decoded"):
        read(tmp_path / "cut.png")
    np.save(tmp_path / "cut.npy", LABELS)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-2])
    with pytest.raises(InputError, match=r"cut\.npy is no readable NPY file"):
        read(tmp_path / "cut.npy")
    np.save(tmp_path / "object.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(InputError, match=r"object\.npy is no readable NPY file"):
        read(tmp_path / "object.npy")


def test_the_maps_of_the_voc_subset_pass(shared_dir: Path) -> None:
    folder = shared_dir / "data" / "VOC2012" / "WSSS_maps"
    for path in sorted(folder.iterdir())[:20]:
        height, width = image_size(path)
        assert read_wsss(path, height=height, width=width, numbers=range(1, 21)).shape == (height, width)
