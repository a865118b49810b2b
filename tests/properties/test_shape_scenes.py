"""Generated scenes keep their limits for every seed, and simulated WSSS maps are valid at every quality."""

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bestie.datasets.shapes import SHAPE_CLASS_NAMES
from bestie.datasets.shapes.scene import SceneLimits
from bestie.datasets.shapes.simulated_wsss import CALIBRATION_MIOU, severity_for, simulate_wsss
from bestie.datasets.shapes.writer import generate_scene, inner_point_yx

numbers = st.integers(1, 999_999)


@st.composite
def limits(draw) -> SceneLimits:
    side = draw(st.integers(48, 160))
    largest = draw(st.floats(12, 0.75 * side))
    return SceneLimits(
        min_side_px=side,
        max_side_px=side + draw(st.integers(0, 40)),
        min_object_px=draw(st.floats(12, largest)),
        max_object_px=largest,
        max_objects=draw(st.integers(2, 9)),
        max_distractors=draw(st.integers(0, 5)),
        repeats=draw(st.integers(0, 6)),
    )


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), number=numbers, limits=limits(), overlap=st.floats(0, 1))
def test_every_scene_keeps_its_limits_and_agrees_with_itself(seed, number, limits, overlap):
    scene = generate_scene(seed, number, limits=limits, overlap_fraction=overlap)
    height, width = scene.instance.shape
    assert limits.min_side_px <= min(height, width) <= max(height, width) <= limits.max_side_px
    assert 1 <= len(scene.category_ids) <= limits.max_objects
    assert set(scene.category_ids) <= set(range(1, len(SHAPE_CLASS_NAMES) + 1))
    visible = np.where(scene.void, 0, scene.instance)
    assert set(np.unique(visible)) - {0} == set(range(1, len(scene.category_ids) + 1))
    assert min((visible == k).sum() for k in range(1, len(scene.category_ids) + 1)) >= 40
    assert not ((scene.distractor > 0) & (scene.instance > 0)).any()


@settings(max_examples=25, deadline=None)
@given(number=numbers, miou=st.floats(CALIBRATION_MIOU[-1], 1.0))
def test_wsss_maps_hold_known_classes_at_every_quality(number, miou):
    scene = generate_scene(0, number)
    flawed = simulate_wsss(np.random.default_rng(number), scene, severity=severity_for(miou))
    assert flawed.shape == scene.instance.shape
    assert flawed.max() <= len(SHAPE_CLASS_NAMES)


@given(st.floats(CALIBRATION_MIOU[-1], 1.0), st.floats(CALIBRATION_MIOU[-1], 1.0))
def test_a_better_map_asks_for_less_severity(first, second):
    worse, better = sorted((first, second))
    assert severity_for(better) <= severity_for(worse)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32))
def test_the_inner_point_of_any_mask_lies_in_it(seed):
    noise = np.random.default_rng(seed).standard_normal((24, 30)).astype(np.float32)
    mask = cv2.GaussianBlur(noise, (0, 0), 2) > 0.1
    mask[0, 0] = True
    assert mask[inner_point_yx(mask)]
