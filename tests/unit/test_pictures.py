"""Pictures show what is in the arrays: where something is drawn, in which color, and how sheets are laid out."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bestie.pictures import (
    Page,
    category_colors,
    category_swatches,
    contact_sheet,
    draw_activation,
    draw_centers_offsets,
    draw_cues,
    draw_instances,
    draw_semantic,
    fit_image,
    fit_map,
    fit_points,
    instance_colors,
    offset_colors,
    offset_wheel,
    save_png,
    shared_numbers,
    stacked_sheets,
    swatches,
)
from bestie.pictures.color import MAX_DISTINCT, to_lab
from bestie.pictures.sheet_layout import GAP_PX, MARGIN_PX

NO_POINTS = np.empty((0, 2), dtype=np.int64)
NO_IDS = np.empty(0, dtype=np.int64)
NO_SCORES = np.empty(0, dtype=np.float32)


def noise(height: int = 60, width: int = 80, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def grey(height: int = 60, width: int = 80, level: int = 120) -> np.ndarray:
    return np.full((height, width, 3), level, dtype=np.uint8)


def hue(rgb: np.ndarray) -> float:
    return float(cv2.cvtColor(rgb.reshape(1, 1, 3).astype(np.float32) / 255, cv2.COLOR_RGB2HSV)[0, 0, 0])


def luminance(rgb: np.ndarray) -> np.ndarray:
    return to_lab(rgb.reshape(-1, 3))[:, 0].reshape(rgb.shape[:-1])


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    assert before.shape == after.shape
    assert after.dtype == np.uint8
    return (before != after).any(axis=-1)


def test_category_colors_are_those_of_pascal_voc() -> None:
    colors = category_colors(255)
    assert colors[[0, 1, 2, 15, 20, 255]].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [0, 128, 0],
        [192, 128, 128],
        [0, 64, 128],
        [224, 224, 192],
    ]
    assert len(np.unique(colors, axis=0)) == 256
    assert category_colors(0).tolist() == [[0, 0, 0]]


def test_more_categories_than_a_map_can_hold_are_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.\.255, not 256"):
        category_colors(256)


@pytest.mark.parametrize(("count", "least"), [(8, 50), (32, 20), (MAX_DISTINCT, 10)])
def test_instance_colors_are_far_apart(count: int, least: float) -> None:
    lab = to_lab(instance_colors(count)[1:])
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    assert distance[np.triu_indices(count, k=1)].min() > least


def test_the_color_of_an_instance_does_not_depend_on_how_many_there_are() -> None:
    many = instance_colors(MAX_DISTINCT + 3)
    for count in (0, 1, 7):
        np.testing.assert_array_equal(instance_colors(count), many[: count + 1])
    np.testing.assert_array_equal(many[MAX_DISTINCT + 1 :], many[1:4])


@settings(max_examples=50, deadline=None)
@given(
    angle=st.floats(0, 2 * np.pi),
    length=st.floats(2, 40),
)
def test_opposite_offsets_have_opposite_hues(angle: float, length: float) -> None:
    offset = length * np.array([np.sin(angle), np.cos(angle)], dtype=np.float32).reshape(2, 1, 1)
    there, back = (hue(offset_colors(way, reach_px=20.0)) for way in (offset, -offset))
    assert abs(there - back) == pytest.approx(180, abs=4)


def test_longer_offsets_are_more_saturated_up_to_the_reach() -> None:
    lengths = np.array([0, 1, 5, 10, 20, 50], dtype=np.float32)
    colors = offset_colors(np.stack([0 * lengths, lengths])[:, None], reach_px=20.0)[0].astype(int)
    assert colors[:, 0].tolist() == [255] * 6
    assert (np.diff(colors[:5, 1]) < 0).all()
    assert colors[0].tolist() == [255, 255, 255]
    assert colors[4].tolist() == colors[5].tolist() == [255, 0, 0]


def test_the_wheel_shows_at_each_place_the_offset_to_it() -> None:
    wheel = offset_wheel(41)
    assert wheel.shape == (41, 41, 3)
    assert wheel[20, 20].tolist() == wheel[0, 0].tolist() == [255, 255, 255]
    for y, x in ((20, 35), (33, 20), (8, 9)):
        offset = np.array([y - 20, x - 20], dtype=np.float32).reshape(2, 1, 1)
        assert wheel[y, x].tolist() == offset_colors(offset, reach_px=20.5)[0, 0].tolist()


def test_a_semantic_map_colors_its_classes_hatches_void_and_leaves_the_background() -> None:
    image = grey()
    semantic = np.zeros((60, 80), dtype=np.uint8)
    semantic[5:25, 5:25] = 1
    semantic[30:50, 5:25] = 2
    semantic[10:50, 40:70] = 255
    drawn = draw_semantic(image, semantic)
    assert not changed(image, drawn)[semantic == 0].any()
    assert drawn[15, 15].argmax() == 0
    assert drawn[40, 15].argmax() == 1
    void = drawn[semantic == 255]
    assert len(np.unique(void, axis=0)) == 2
    assert (void.min(axis=1) == void.max(axis=1)).all()
    assert (void > 120).all()


def test_heat_gets_lighter_with_every_step_of_activation() -> None:
    activation = np.linspace(-0.2, 1.2, 80, dtype=np.float32)[None].repeat(60, axis=0)
    for level in (0, 120, 255):
        light = luminance(draw_activation(grey(level=level), activation))[0]
        assert (np.diff(light) > -0.5).all()
        assert light[-1] - light[0] > 30
        assert light[activation[0] <= 0].std() == light[activation[0] >= 1].std() == 0


def test_a_cue_is_a_dot_of_its_class_in_a_white_ring_and_nothing_else() -> None:
    image = grey(200, 300)
    cues_yx = np.array([[50, 60], [150, 220]])
    drawn = draw_cues(image, cues_yx, np.array([1, 2]), np.array([0.3, 1.0], dtype=np.float32))
    assert drawn[50, 60].tolist() == [128, 0, 0]
    assert drawn[150, 220].tolist() == [0, 128, 0]
    y, x = np.indices((200, 300))
    near = [np.hypot(y - cue[0], x - cue[1]) < 20 for cue in cues_yx]
    weak, strong = ((changed(image, drawn) & area).sum() for area in near)
    assert 0 < weak < strong
    assert all((drawn[area] == 255).all(axis=1).any() for area in near)
    assert not changed(image, drawn)[~(near[0] | near[1])].any()


def test_of_two_cues_at_one_place_the_stronger_is_seen() -> None:
    at_one_place = np.array([[30.0, 40.0], [30.0, 40.0]])
    for score in ([0.9, 0.4], [0.4, 0.9]):
        drawn = draw_cues(grey(), at_one_place, np.array([1, 2]), np.array(score))
        assert drawn[30, 40].argmax() == int(np.argmax(score))


def test_offsets_are_seen_on_instances_and_the_rest_is_dark_and_grey() -> None:
    image = noise(80, 120)
    instance = np.zeros((80, 120), dtype=np.int64)
    instance[20:61, 20:101] = 1
    offset = np.stack(np.broadcast_arrays(40.0 - np.arange(80)[:, None], 60.0 - np.arange(120)))
    center = np.exp(-(offset**2).sum(axis=0) / (2 * 6.0**2))
    drawn = draw_centers_offsets(image, center, offset, instance)
    outside = drawn[(instance == 0) & (center < 1e-4)]
    assert (np.ptp(outside, axis=1) == 0).all()
    assert outside.max() <= 0.4 * 255 + 1
    left, right = drawn[40, 25], drawn[40, 95]
    assert left.argmax() == 0
    assert abs(hue(left) - hue(right)) == pytest.approx(180, abs=15)
    assert drawn[40, 60].max() == 0
    assert drawn[40, 64].min() > 190


def test_a_center_outside_all_instances_is_seen() -> None:
    center = np.zeros((60, 80), dtype=np.float32)
    cv2.circle(center, (20, 30), 4, 0.9, cv2.FILLED)
    zeros = np.zeros((60, 80), dtype=np.int64)
    drawn = draw_centers_offsets(grey(), center, np.zeros((2, 60, 80), dtype=np.float32), zeros)
    assert drawn[30, 20].max() < 60
    assert drawn[30, 23].min() > 200
    assert len(np.unique(drawn[:, 40:].reshape(-1, 3), axis=0)) == 1


def test_instances_are_tinted_and_outlined_in_their_colors_and_nothing_else_changes() -> None:
    image = grey(120, 160)
    instance = np.zeros((120, 160), dtype=np.uint16)
    instance[20:50, 20:60] = 1
    instance[60:100, 90:150] = 2
    drawn = draw_instances(image, instance, np.array([3, 3]))
    colors = instance_colors(2)
    beyond_lines = cv2.dilate((instance > 0).astype(np.uint8), np.ones((5, 5))) == 0
    assert not changed(image, drawn)[beyond_lines].any()
    assert changed(image, drawn)[instance > 0].all()
    assert np.abs(drawn[20, 40] - colors[1].astype(int)).max() < 20
    assert np.abs(drawn[60, 120] - colors[2].astype(int)).max() < 20
    assert drawn[35, 40].tolist() == np.rint(120 * 0.55 + colors[1] * 0.45).tolist()


def test_a_map_and_its_masks_give_the_same_picture() -> None:
    instance = np.random.default_rng(1).integers(0, 3, (6, 8)).repeat(10, 0).repeat(10, 1)
    masks = [instance == 1, instance == 2]
    category_id, score = np.array([1, 2]), np.array([0.5, 0.7], dtype=np.float32)
    pictures = [
        draw_instances(noise(), form, category_id, score, names=["cat", "dog"])
        for form in (instance, masks, np.stack(masks))
    ]
    np.testing.assert_array_equal(pictures[0], pictures[1])
    np.testing.assert_array_equal(pictures[0], pictures[2])


@pytest.mark.parametrize("small_first", [True, False])
def test_a_small_mask_stays_visible_on_a_large_one(small_first: bool) -> None:
    large, small = np.zeros((2, 100, 100), dtype=bool)
    large[5:95, 5:95] = True
    small[40:60, 40:60] = True
    masks = [small, large] if small_first else [large, small]
    drawn = draw_instances(grey(100, 100), masks, np.array([1, 1]))
    expected = instance_colors(2)[1 if small_first else 2].astype(int)
    assert np.abs(drawn[40, 50] - expected).max() < 20
    assert changed(drawn[50, 50][None], drawn[20, 20][None]).all()


def test_a_label_is_written_only_on_instances_with_room() -> None:
    instance = np.zeros((200, 200), dtype=np.int64)
    instance[10:100, 10:150] = 1
    instance[150:158, 150:158] = 2
    category_id, score = np.array([1, 1]), np.array([0.9, 0.8], dtype=np.float32)
    bare = draw_instances(grey(200, 200), instance, category_id)
    labeled = draw_instances(grey(200, 200), instance, category_id, score, names=["cat"])
    written = changed(bare, labeled)
    assert written[instance == 1].any()
    assert not written[instance != 1].any()


def test_a_label_too_wide_for_its_instance_gets_shorter() -> None:
    instance = np.zeros((200, 200), dtype=np.int64)
    instance[10:100, 10:60] = 1
    category_id, score = np.array([1]), np.array([0.9], dtype=np.float32)
    number = draw_instances(grey(200, 200), instance, category_id, score)
    both = draw_instances(grey(200, 200), instance, category_id, score, names=["hippopotamus"])
    np.testing.assert_array_equal(both, number)


def test_labels_do_not_cover_each_other() -> None:
    mask = np.zeros((200, 200), dtype=bool)
    mask[50:150, 50:150] = True
    category_id, score = np.array([1, 1]), np.array([0.9, 0.8], dtype=np.float32)
    bare = draw_instances(grey(200, 200), [mask, mask], category_id)
    twice = draw_instances(grey(200, 200), [mask, mask], category_id, score)
    once = draw_instances(grey(200, 200), [mask, mask], category_id, np.array([0.9, 0.9], dtype=np.float32))
    assert changed(bare, twice).any()
    np.testing.assert_array_equal(twice, once)


def test_instances_without_category_or_name_are_refused() -> None:
    with pytest.raises(ValueError, match="instance id 2 in the map, but 1 category ids"):
        draw_instances(grey(), np.full((60, 80), 2), np.array([1]))
    with pytest.raises(ValueError, match="0 masks, but 1 category ids"):
        draw_instances(grey(), [], np.array([1]))
    with pytest.raises(ValueError, match=r"category ids 1\.\.1, but 0 names"):
        draw_instances(grey(), np.ones((60, 80), dtype=np.int64), np.array([1]), names=[])


def test_layers_without_anything_to_draw_leave_the_picture() -> None:
    image, nothing = noise(), np.zeros((60, 80), dtype=np.int64)
    empty_mask = [np.zeros((60, 80), dtype=bool)]
    for drawn in (
        draw_semantic(image, nothing.astype(np.uint8)),
        draw_cues(image, NO_POINTS, NO_IDS, NO_SCORES),
        draw_instances(image, nothing, NO_IDS, NO_SCORES, names=["cat"]),
        draw_instances(image, [], NO_IDS, names=["cat"]),
        draw_instances(image, empty_mask, np.array([1]), names=["cat"]),
    ):
        np.testing.assert_array_equal(drawn, image)
        assert not np.shares_memory(drawn, image)
    center, offset = np.zeros((60, 80)), np.zeros((2, 60, 80))
    assert np.ptp(draw_centers_offsets(image, center, offset, nothing), axis=-1).max() == 0


def test_no_layer_writes_into_its_inputs() -> None:
    image, labels = noise(), np.ones((60, 80), dtype=np.uint8)
    before = image.copy()
    ids, score = np.array([1]), np.array([0.5], dtype=np.float32)
    draw_semantic(image, labels)
    draw_activation(image, np.ones((60, 80)))
    draw_cues(image, np.array([[30, 40]]), ids, score)
    draw_centers_offsets(image, np.ones((60, 80)), np.ones((2, 60, 80)), labels)
    draw_instances(image, labels, ids, score)
    np.testing.assert_array_equal(image, before)


@settings(max_examples=50, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), size_px=st.integers(1, 90))
def test_pictures_maps_and_points_fit_together(height: int, width: int, size_px: int) -> None:
    image = fit_image(grey(height, width), size_px)
    ids = np.arange(height * width).reshape(height, width)
    fitted = fit_map(np.stack([ids, ids]), size_px)
    assert fitted.shape == (2, *image.shape[:2])
    assert max(image.shape[:2]) == size_px
    points_yx = np.stack(np.divmod(ids.ravel(), width), axis=1)
    there = fit_points(points_yx, height=height, width=width, size_px=size_px)
    if size_px >= 3 * max(height, width) and min(height, width) > 1:
        y, x = np.rint(there).astype(int).T
        np.testing.assert_array_equal(fitted[0, y, x], ids.ravel())


def test_a_picture_of_the_right_size_is_not_resampled() -> None:
    np.testing.assert_array_equal(fit_image(noise(60, 80), 80), noise(60, 80))


def test_single_pixels_are_seen_when_much_enlarged() -> None:
    image = noise(3, 4)
    np.testing.assert_array_equal(fit_image(image, 40), image.repeat(10, 0).repeat(10, 1))


def test_a_sheet_is_as_large_as_its_parts() -> None:
    def size(
        rows: int, columns: int, title: str | None = None, legend: Sequence[tuple[str, np.ndarray]] = ()
    ) -> tuple[int, int]:
        row = ("", [grey(30, 60)] * columns)
        sheet = contact_sheet([row] * rows, headers=[""] * columns, cell_px=120, legend=legend, title=title)
        return sheet.shape[:2]

    assert size(1, 1) == (2 * MARGIN_PX + 60, 2 * MARGIN_PX + 120)
    assert size(3, 4) == (2 * MARGIN_PX + 3 * 60 + 2 * GAP_PX, 2 * MARGIN_PX + 4 * 120 + 3 * GAP_PX)
    assert size(3, 4, title="Title")[0] > size(3, 4)[0]
    legend = [("offset", offset_wheel(40))]
    assert size(3, 4, legend=legend) == (size(3, 4)[0] + 40 + 2 * GAP_PX, size(3, 4)[1])


def test_pictures_stand_unchanged_in_their_cells() -> None:
    pictures = [noise(60, 80, seed=seed) for seed in range(4)]
    sheet = contact_sheet([("", pictures[:2]), ("", pictures[2:])], headers=["", ""], cell_px=80)
    for index, picture in enumerate(pictures):
        top = MARGIN_PX + (index // 2) * (60 + GAP_PX)
        left = MARGIN_PX + (index % 2) * (80 + GAP_PX)
        np.testing.assert_array_equal(sheet[top : top + 60, left : left + 80], picture)


def test_rows_and_columns_take_the_size_of_their_largest_picture() -> None:
    rows: list[tuple[str, list[np.ndarray | None]]] = [
        ("", [grey(100, 50), grey(100, 100)]),
        ("", [None, grey(40, 100)]),
    ]
    sheet = contact_sheet(rows, headers=["", ""], cell_px=100)
    assert sheet.shape[:2] == (2 * MARGIN_PX + 100 + GAP_PX + 40, 2 * MARGIN_PX + 50 + GAP_PX + 100)


def test_a_lower_picture_stands_in_the_middle_of_its_row() -> None:
    sheet = contact_sheet([("", [grey(100, 50), grey(40, 100, level=7)])], headers=["", ""], cell_px=100)
    rows = np.flatnonzero((sheet == 7).all(axis=-1).any(axis=1))
    assert (rows[0], rows[-1]) == (MARGIN_PX + 30, MARGIN_PX + 69)


def test_captions_headers_and_title_are_written_and_long_ones_stay_inside() -> None:
    long = "a very long text " * 40
    plain = contact_sheet([("", [grey()])], headers=[""], cell_px=80)
    sheet = contact_sheet([(f"first\n{long}", [grey()])], headers=[long], cell_px=80, title=long)
    assert sheet.shape[0] > plain.shape[0]
    assert plain.shape[1] < sheet.shape[1] < 400
    margins = (sheet[:MARGIN_PX], sheet[-MARGIN_PX:], sheet[:, :MARGIN_PX], sheet[:, -MARGIN_PX:])
    assert all((margin == 255).all() for margin in margins)
    assert (sheet[:, MARGIN_PX : MARGIN_PX + 100] < 120).any()


def test_a_long_legend_continues_on_further_lines() -> None:
    names = [f"category {number}" for number in range(30)]
    swatches = category_swatches(names)
    assert [swatch[0, 0].tolist() for _, swatch in swatches] == category_colors(30)[1:].tolist()
    row = ("", [grey()])
    with_legend = contact_sheet([row], headers=[""], cell_px=300, legend=swatches)
    without = contact_sheet([row], headers=[""], cell_px=300)
    assert with_legend.shape[1] == without.shape[1]
    assert with_legend.shape[0] > without.shape[0] + 5 * GAP_PX
    shown = {tuple(color) for color in with_legend.reshape(-1, 3).tolist()}
    assert {tuple(color) for color in category_colors(30)[1:].tolist()} <= shown


def test_a_sheet_of_nothing_is_paper() -> None:
    sheet = contact_sheet([], headers=[], cell_px=100)
    assert sheet.shape == (2 * MARGIN_PX, 2 * MARGIN_PX, 3)
    assert (sheet == 255).all()
    assert contact_sheet([], headers=["image"], cell_px=100).shape[1] == 2 * MARGIN_PX + 100
    assert contact_sheet([("", [None])], headers=[""], cell_px=100).shape[0] == 2 * MARGIN_PX + 100


def test_a_row_without_a_picture_for_each_header_is_refused() -> None:
    with pytest.raises(ValueError, match="row 'one' has 1 pictures, but there are 2 headers"):
        contact_sheet([("one", [grey()])], headers=["a", "b"], cell_px=80)


def test_equal_pictures_are_equal_files_without_metadata(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save_png(tmp_path / name, noise())
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as opened:
        assert opened.info == {}
        np.testing.assert_array_equal(np.array(opened), noise())


def box(left: int, size: int = 10) -> np.ndarray:
    mask = np.zeros((30, 60), bool)
    mask[5 : 5 + size, left : left + size] = True
    return mask


def test_an_object_has_the_same_number_in_every_table():
    first, second = [box(0), box(20)], [box(21), box(40), box(2)]
    numbers = [each.tolist() for each in shared_numbers([first, second])]
    assert numbers == [[1, 2], [2, 3, 1]]
    assert [each.tolist() for each in shared_numbers([first, second, [box(41)]])] == [*numbers, [3]]


def test_of_two_instances_on_one_object_the_better_one_has_its_number():
    numbers = shared_numbers([[box(0)], [box(3), box(1)]])
    assert [each.tolist() for each in numbers] == [[1], [2, 1]]
    assert [each.tolist() for each in shared_numbers([[], [box(0)], []])] == [[], [1], []]


def test_numbers_choose_the_colors():
    image = grey(30, 60)
    one = draw_instances(image, [box(0), box(20)], np.array([1, 1]))
    swapped = draw_instances(image, [box(20), box(0)], np.array([1, 1]), numbers=np.array([2, 1]))
    other = draw_instances(image, [box(0), box(20)], np.array([1, 1]), numbers=np.array([2, 1]))
    assert np.array_equal(one, swapped)
    assert not np.array_equal(one, other)


def test_pages_lie_below_each_other_on_white_paper():
    wide = Page([("a", [noise()] * 3)], ("x", "y", "z"), 60)
    narrow = Page([("b", [noise()])], ("x",), 60)
    sheet = stacked_sheets([wide, narrow], title="t", legend=swatches([("s", (1, 2, 3))]))
    upper = contact_sheet(wide.rows, headers=wide.headers, cell_px=60, title="t")
    assert np.array_equal(sheet[: len(upper)], upper)
    assert (sheet[len(upper) :, -20:] == 255).all()
    assert (sheet == (1, 2, 3)).all(-1).sum() == 14 * 14
