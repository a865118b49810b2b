"""The generated data set: its files, what its images show, and simulated WSSS maps of a wanted quality."""

import colorsys
import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from defusedxml import ElementTree
from PIL import Image

from bestie.datasets.shapes import SHAPE_CLASS_NAMES, generate_shapes, measure_miou
from bestie.datasets.shapes.scene import SceneLimits
from bestie.datasets.shapes.shape_classes import SHAPE_CLASSES
from bestie.datasets.shapes.simulated_wsss import CALIBRATION_MIOU, severity_for, simulate_wsss
from bestie.datasets.shapes.sprites import render_sprite
from bestie.datasets.shapes.writer import generate_scene, voc_palette

NUM_TRAIN, NUM_VAL = 60, 6


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    generate_shapes(folder, seed=3, num_train=NUM_TRAIN, num_val=NUM_VAL)
    return folder


@pytest.fixture(scope="module")
def scenes():
    return [generate_scene(5, number) for number in range(1, 181)]


@pytest.fixture(scope="module")
def many_scenes():
    """Whole objects are lost or confused, so the mIoU of two hundred images still varies by 0.03."""
    return [generate_scene(seed, number) for seed in range(4, 10) for number in range(1, 101)]


def ids_of(root: Path, split: str) -> list[str]:
    return (root / f"ImageSets/Segmentation/{split}.txt").read_text().split()


def digests(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.md5(path.read_bytes()).hexdigest() for path in files}


def read_png(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.mode == "P"
        assert picture.getpalette() == voc_palette()
        return np.array(picture)


def touching_pairs(instance: np.ndarray, *, reach_px: int) -> set[tuple[int, int]]:
    """Pairs of ids of which one, grown by `reach_px`, meets the other."""
    kernel = np.ones((2 * reach_px + 1,) * 2, np.uint8)
    pairs = set()
    for k in range(1, int(instance.max()) + 1):
        grown = cv2.dilate((instance == k).astype(np.uint8), kernel) > 0
        pairs |= {(k, int(other)) for other in np.unique(instance[grown]) if other not in (0, k)}
    return pairs


def test_same_seed_gives_the_same_bytes_and_leaves_nothing_else(root, tmp_path):
    generate_shapes(tmp_path, seed=3, num_train=NUM_TRAIN, num_val=NUM_VAL)
    assert digests(tmp_path) == digests(root)
    assert len(digests(root)) == 6 * NUM_TRAIN + 4 * NUM_VAL + 2


def test_another_seed_gives_other_images(root, tmp_path):
    generate_shapes(tmp_path, seed=4, num_train=2, num_val=0)
    ours, theirs = digests(tmp_path), digests(root)
    assert all(ours[name] != theirs[name] for name in ours if name.startswith("JPEGImages"))


def test_growing_a_split_keeps_the_images_of_both(root, tmp_path):
    generate_shapes(tmp_path, seed=3, num_train=5, num_val=2)
    known = digests(root)
    assert all(known[name] == digest for name, digest in digests(tmp_path).items() if "ImageSets" not in name)


def test_wsss_quality_changes_no_other_file(root, tmp_path):
    generate_shapes(tmp_path, seed=3, num_train=8, num_val=0, wsss_miou=1.0)
    known = digests(root)
    changed = {Path(name).parts[0] for name, digest in digests(tmp_path).items() if known[name] != digest} - {
        "ImageSets"
    }
    assert changed == {"WSSS_maps"}


def test_progress_counts_every_image(tmp_path):
    calls = []
    generate_shapes(tmp_path, seed=0, num_train=3, num_val=2, progress=lambda *args: calls.append(args))
    assert calls == [(k, 5) for k in range(1, 6)]


def test_files_have_the_voc_layout(root):
    assert len(ids_of(root, "train")) == NUM_TRAIN
    assert len(ids_of(root, "val")) == NUM_VAL
    for name in ids_of(root, "train") + ids_of(root, "val"):
        with Image.open(root / f"JPEGImages/{name}.jpg") as picture:
            assert (picture.format, picture.mode) == ("JPEG", "RGB")
            width, height = picture.size
        assert min(width, height) >= 112 and max(width, height) <= 144
        classes = read_png(root / f"SegmentationClass/{name}.png")
        instance = read_png(root / f"SegmentationObject/{name}.png")
        assert classes.shape == instance.shape == (height, width)
        np.testing.assert_array_equal(classes == 255, instance == 255)
        np.testing.assert_array_equal(classes == 0, instance == 0)
    assert voc_palette()[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]


def test_annotations_name_the_class_and_box_of_every_instance(root):
    for name in ids_of(root, "train"):
        classes = read_png(root / f"SegmentationClass/{name}.png")
        instance = read_png(root / f"SegmentationObject/{name}.png")
        tree = ElementTree.parse(root / f"Annotations/{name}.xml")
        assert tree.findtext("filename") == f"{name}.jpg"
        size = [int(tree.findtext(f"size/{key}")) for key in ("height", "width", "depth")]
        assert size == [*instance.shape, 3]
        objects = tree.findall("object")
        assert [*range(1, len(objects) + 1)] == sorted({*np.unique(instance)} - {0, 255})
        for instance_id, node in enumerate(objects, start=1):
            y, x = np.nonzero(instance == instance_id)
            (category_id,) = np.unique(classes[y, x])
            box = [int(node.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")]
            assert node.findtext("name") == SHAPE_CLASS_NAMES[category_id - 1]
            assert node.findtext("difficult") == "0"
            assert box == [x.min() + 1, y.min() + 1, x.max() + 1, y.max() + 1]


def test_points_lie_inside_their_objects(root):
    for name in ids_of(root, "train"):
        instance = read_png(root / f"SegmentationObject/{name}.png")
        classes = read_png(root / f"SegmentationClass/{name}.png")
        lines = (root / f"Center_points/{name}.txt").read_text().splitlines()
        assert len(lines) == instance[instance != 255].max()
        for instance_id, line in enumerate(lines, start=1):
            x, y, category, confidence = line.split()
            assert instance[int(y), int(x)] == instance_id
            assert classes[int(y), int(x)] == int(category) + 1
            assert confidence == "1.000"
    assert not (root / f"Center_points/{ids_of(root, 'val')[0]}.txt").exists()
    assert not (root / f"WSSS_maps/{ids_of(root, 'val')[0]}.png").exists()


def test_a_third_of_the_images_have_touching_objects_of_one_class(scenes):
    touching = [bool(touching_pairs(scene.instance, reach_px=1)) for scene in scenes]
    assert sum(touching) == pytest.approx(len(scenes) / 3, abs=1)
    for scene, touches in zip(scenes, touching, strict=True):
        if touches:
            assert len(set(scene.category_ids)) == 1
        else:
            assert not touching_pairs(scene.instance, reach_px=4)


def test_void_separates_touching_objects(scenes):
    for scene in scenes:
        visible = np.where(scene.void, np.uint8(0), scene.instance)
        assert not any(
            ((a != b) & (a > 0) & (b > 0)).any()
            for a, b in ((visible[1:], visible[:-1]), (visible[:, 1:], visible[:, :-1]))
        )


def test_counts_sizes_and_classes_span_what_was_asked_for(scenes):
    counts = np.bincount([len(scene.category_ids) for scene in scenes], minlength=8)
    assert counts[0] == 0 and counts[7:].sum() == 0 and (counts[1:7] > 0).all()
    areas = [int((s.instance == k).sum()) for s in scenes for k in range(1, len(s.category_ids) + 1)]
    assert min(areas) >= 40
    small, large = np.quantile(np.sqrt(areas), [0.02, 0.98])
    assert large / small > 3
    images = np.zeros(len(SHAPE_CLASS_NAMES), int)
    for scene in scenes:
        images[[c - 1 for c in set(scene.category_ids)]] += 1
    assert images.min() >= 8
    assert images.max() > 2 * images.min()
    assert sum(len(set(scene.category_ids)) == 2 for scene in scenes) > 10
    assert sum(int(scene.distractor.max()) > 0 for scene in scenes) > len(scenes) / 2


def test_every_object_shows_a_part_smaller_than_its_body_and_away_from_its_center(scenes):
    shares, distances = [], []
    for scene in scenes:
        assert not ((scene.part > 0) & (scene.part != scene.instance)).any()
        for k in range(1, len(scene.category_ids) + 1):
            body, part = scene.instance == k, scene.part == k
            assert part.any()
            shares.append(part.sum() / body.sum())
            offset = np.argwhere(part).mean(axis=0) - np.argwhere(body).mean(axis=0)
            distances.append(np.hypot(*offset) / np.sqrt(body.sum()))
    assert np.median(shares) < 0.45
    assert np.median(distances) > 0.2


def test_most_objects_show_a_tail_mark_at_the_end_away_from_the_badge(scenes):
    shares, distances, marked, large = [], [], 0, 0
    for scene in scenes:
        assert not ((scene.mark > 0) & ((scene.mark != scene.instance) | (scene.part > 0))).any()
        for k in range(1, len(scene.category_ids) + 1):
            body, part, mark = scene.instance == k, scene.part == k, scene.mark == k
            if body.sum() < 350:
                continue
            large += 1
            if mark.sum() < 10:
                continue
            marked += 1
            shares.append(mark.sum() / part.sum())
            distances.append(np.hypot(*(np.argwhere(part).mean(axis=0) - np.argwhere(mark).mean(axis=0))))
            distances[-1] /= np.sqrt(body.sum())
    assert 0.55 < marked / large < 0.85
    assert np.median(shares) < 0.9
    assert np.median(distances) > 0.8


def test_repeats_lie_on_the_body_and_are_fainter_than_the_badge():
    limits = SceneLimits(max_objects=2, repeats=6)
    seen, body_contrast, badge_contrast, shares = 0, [], [], []
    for number in range(1, 61):
        scene = generate_scene(5, number, limits=limits)
        grey = scene.image.mean(axis=2)
        assert not ((scene.mark > 0) & ((scene.mark != scene.instance) | (scene.part > 0))).any()
        for k in range(1, len(scene.category_ids) + 1):
            body, part, mark = scene.instance == k, scene.part == k, scene.mark == k
            if body.sum() < 350:
                continue
            assert mark.any()
            seen += 1
            shares.append(mark.sum() / body.sum())
            body_contrast.append(grey[mark].std())
            badge_contrast.append(grey[part].std())
    assert seen > 40
    assert 0.2 < np.median(shares) < 0.7
    assert np.median(body_contrast) < 0.75 * np.median(badge_contrast)


def test_repeats_leave_data_without_them_as_they_are():
    without, with_repeats = (generate_scene(5, 1, limits=SceneLimits(repeats=n)) for n in (0, 4))
    np.testing.assert_array_equal(generate_scene(5, 1).image, without.image)
    assert not np.array_equal(without.image, with_repeats.image)


def test_bodies_take_the_hues_of_their_class_only_if_asked_to():
    def hues_off(class_colors: bool) -> list[float]:
        """Distance of each body's hue to its class's, 0 to 0.5, measured beside badge and mark."""
        found = []
        for seed in range(60):
            shape = SHAPE_CLASSES[seed % len(SHAPE_CLASSES)]
            sprite = render_sprite(
                np.random.default_rng(seed),
                category_id=seed % len(SHAPE_CLASSES) + 1,
                size_px=60,
                background=np.zeros(3, np.float32),
                light_angle=0,
                class_colors=class_colors,
            )
            body = sprite.color[sprite.mask & ~sprite.part & ~sprite.mark].mean(axis=0)
            hue = colorsys.rgb_to_hsv(*body)[0]
            found.append(abs((hue - shape.badge.hue + 0.5) % 1 - 0.5))
        return found

    assert np.median(hues_off(True)) < 0.06
    assert np.median(hues_off(False)) > 0.15


def test_distractors_show_nothing_of_a_class():
    rng = np.random.default_rng(0)
    background = np.full(3, 0.5, np.float32)
    for _ in range(20):
        sprite = render_sprite(rng, category_id=0, size_px=40.0, background=background, light_angle=0.0)
        assert not sprite.part.any() and not sprite.mark.any()


@pytest.mark.parametrize("target", [0.5, 0.6, 0.7, 0.8, 0.9])
def test_wsss_maps_have_the_wanted_miou(many_scenes, target):
    severity = severity_for(target)
    pairs = [
        (
            np.where(scene.void, np.uint8(255), scene.semantic),
            simulate_wsss(np.random.default_rng(number), scene, severity=severity),
        )
        for number, scene in enumerate(many_scenes)
    ]
    assert measure_miou(pairs) == pytest.approx(target, abs=0.03)


def test_wsss_maps_on_disk_have_the_wanted_miou(root):
    folders = [root / "SegmentationClass", root / "WSSS_maps"]
    pairs = [tuple(read_png(f / f"{name}.png") for f in folders) for name in ids_of(root, "train")]
    assert measure_miou(pairs) == pytest.approx(0.70, abs=0.06)  # sixty images only


def test_wsss_maps_at_miou_one_are_the_truth(scenes):
    for scene in scenes[:20]:
        flawed = simulate_wsss(np.random.default_rng(0), scene, severity=severity_for(1.0))
        np.testing.assert_array_equal(flawed, scene.semantic)


def test_wsss_maps_merge_touching_objects_and_lose_some_small_ones(scenes):
    merged = lost = small = 0
    for number, scene in enumerate(scenes):
        flawed = simulate_wsss(np.random.default_rng(number), scene, severity=severity_for(0.7))
        _, components = cv2.connectedComponents((flawed > 0).astype(np.uint8))
        kept = {k: set(np.unique(components[scene.instance == k])) - {0} for k in np.unique(scene.instance)}
        merged += any(kept[a] & kept[b] for a, b in touching_pairs(scene.instance, reach_px=1))
        areas = {k: (scene.instance == k).sum() for k in kept if k}
        small += sum(area < 200 for area in areas.values())
        lost += sum(area < 200 and not kept[k] for k, area in areas.items())
    assert merged > 30
    assert 0.05 * small < lost < 0.6 * small


def test_measured_miou_ignores_void_and_absent_classes():
    truth = np.array([[0, 0, 1, 255]], np.uint8)
    predicted = np.array([[0, 1, 1, 3]], np.uint8)
    assert measure_miou([(truth, predicted)]) == pytest.approx((1 / 2 + 1 / 2) / 2)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"num_train": -1}, "num_train"),
        ({"overlap_fraction": 1.5}, "overlap_fraction"),
        ({"max_objects": 1}, "max_objects"),
        ({"max_distractors": -1}, "max_distractors"),
        ({"repeats": -1}, "repeats"),
        ({"min_side_px": 200}, "min_side_px"),
        ({"max_object_px": 120.0}, "max_object_px"),
        ({"wsss_miou": CALIBRATION_MIOU[-1] - 0.01}, "wsss_miou"),
        ({"wsss_miou": 1.01}, "wsss_miou"),
    ],
)
def test_wrong_arguments_are_refused_by_name_before_anything_is_written(tmp_path, wrong, name):
    with pytest.raises(ValueError, match=name):
        generate_shapes(tmp_path / "out", seed=0, **wrong)
    assert not (tmp_path / "out").exists()


def test_an_exception_leaves_no_half_file(tmp_path):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_shapes(tmp_path, seed=3, num_train=2, num_val=1, progress=stop)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "shapes_000001.jpg",
        *["shapes_000001.png"] * 3,
        "shapes_000001.txt",
        "shapes_000001.xml",
    ]


def test_objects_shrink_with_the_picture(tmp_path):
    generate_shapes(tmp_path, seed=0, num_train=12, num_val=0, min_side_px=60, max_side_px=68)
    largest = 0
    for name in ids_of(tmp_path, "train"):
        instance = read_png(tmp_path / f"SegmentationObject/{name}.png")
        assert max(instance.shape) <= 68
        largest = max([largest, *np.bincount(instance[(instance > 0) & (instance < 255)])])
    assert 100 < largest < 36**2


def test_overlap_fraction_is_kept_at_its_ends():
    limits = SceneLimits(max_objects=3)
    for fraction in (0.0, 1.0):
        for number in range(1, 21):
            scene = generate_scene(1, number, limits=limits, overlap_fraction=fraction)
            assert bool(touching_pairs(scene.instance, reach_px=1)) == bool(fraction)
            assert len(scene.category_ids) <= 3


def test_objects_may_all_have_one_size():
    size_px = 19.13234746268499  # its logarithm, mixed of two equal bounds, comes out on either side of itself
    limits = SceneLimits(min_side_px=48, max_side_px=48, min_object_px=size_px, max_object_px=size_px, max_objects=2)
    assert len(generate_scene(0, 1, limits=limits, overlap_fraction=1.0).category_ids) == 2
