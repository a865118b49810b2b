"""Charts and graphs as geometry."""

import itertools

import pytest

from bestie.report.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Chart, Line, draw
from bestie.report.graph_drawing import BOX_HEIGHT, BOX_WIDTH, draw_graph


def chart(*lines: Line, **options) -> Chart:
    return Chart("key", "title", "note", "x", "y", lines, **options)


def line(*points: tuple[float, float | None], **options) -> Line:
    return Line("name", "bestie", points, **options)


def test_values_run_from_corner_to_corner_of_the_box():
    drawing = draw(chart(line((0, 0.0), (10, 100.0))))
    assert drawing is not None
    assert drawing.lines[0].path == f"M{LEFT} {HEIGHT - BOTTOM}L{WIDTH - RIGHT} {TOP}"
    assert [text for _, text in drawing.y_ticks] == ["0", "20", "40", "60", "80", "100"]
    assert [text for _, text in drawing.x_ticks] == ["0", "2", "4", "6", "8", "10"]


@pytest.mark.parametrize("top", [0.013, 0.7, 1.0, 3.1, 47.0, 12345.0])
def test_no_value_is_above_the_axis_and_ticks_are_few(top: float):
    drawing = draw(chart(line((1, 0.0), (2, top))))
    assert drawing is not None
    assert all(y >= TOP for _, y in drawing.lines[0].dots)
    assert 3 <= len(drawing.y_ticks) <= 8


def test_negative_values_have_a_place():
    drawing = draw(chart(line((1, -2.0), (2, 3.0))))
    assert drawing is not None
    assert all(TOP <= y <= HEIGHT - BOTTOM for _, y in drawing.lines[0].dots)


def test_epochs_have_whole_ticks():
    drawing = draw(chart(line((1, 1.0), (2, 1.0), (3, 2.0))))
    assert drawing is not None
    assert [text for _, text in drawing.x_ticks] == ["1", "2", "3"]


def test_a_gap_starts_a_new_stroke():
    drawing = draw(chart(line((0, 1.0), (1, None), (2, float("nan")), (3, 2.0), (4, 2.0))))
    assert drawing is not None
    assert drawing.lines[0].path.count("M") == 2
    assert drawing.numbers["lines"][0]["values"] == [1.0, None, None, 2.0, 2.0]


def test_a_logarithmic_axis_has_powers_of_ten_and_leaves_zero_out():
    drawing = draw(chart(line((1, 0.0), (2, 0.5), (3, 300.0)), logarithmic=True))
    assert drawing is not None
    assert [text for _, text in drawing.y_ticks] == ["0.1", "1", "10", "100", "1000"]
    assert drawing.numbers["lines"][0]["values"] == [None, 0.5, 300.0]


def test_a_single_point_is_drawn():
    drawing = draw(chart(line((3, 5.0))))
    assert drawing is not None
    assert len(drawing.lines[0].dots) == 1


@pytest.mark.parametrize("lines", [(), (line(),), (line((1, None)),)])
def test_without_values_there_is_no_chart(lines: tuple[Line, ...]):
    assert draw(chart(*lines)) is None


def test_lines_of_many_points_and_dashed_ones_have_no_dots():
    many = draw(chart(line(*((x, 1.0) for x in range(100)))))
    dashed = draw(chart(line((0, 1.0), (1, 1.0), dashed=True)))
    assert many is not None
    assert dashed is not None
    assert many.lines[0].dots == dashed.lines[0].dots == []


DIAMOND = [("a", "b"), ("b", "c"), ("a", "d"), ("c", "e"), ("d", "e")]


@pytest.mark.parametrize("downwards", [False, True])
def test_boxes_lie_beside_each_other_inside_the_drawing(downwards: bool):
    drawing = draw_graph("abcde", DIAMOND, downwards=downwards)
    for one, other in itertools.combinations(drawing.boxes, 2):
        assert abs(one.x - other.x) >= BOX_WIDTH or abs(one.y - other.y) >= BOX_HEIGHT
    for box in drawing.boxes:
        assert 0 <= box.x <= drawing.width - BOX_WIDTH
        assert 0 <= box.y <= drawing.height - BOX_HEIGHT


def test_a_node_stands_behind_those_that_it_depends_on():
    drawing = draw_graph("abcde", DIAMOND)
    place = {box.name: box.x for box in drawing.boxes}
    assert all(place[source] < place[target] for source, target in DIAMOND)
    assert len(drawing.paths) == len(DIAMOND)


def test_a_long_edge_passes_beside_the_nodes_between():
    drawing = draw_graph("abc", [("a", "b"), ("b", "c"), ("a", "c")])
    place = {box.name: box.y for box in drawing.boxes}
    height = float(drawing.paths[2].split("L")[1].split("C")[0].split()[1])
    assert not place["b"] <= height <= place["b"] + BOX_HEIGHT


def test_an_edge_to_nowhere_is_refused():
    with pytest.raises(ValueError, match="'z'"):
        draw_graph("ab", [("a", "z")])
