"""Images of two versions side by side, without holding them all."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bestie.artifacts.tables import Columns
from bestie.audit.pairing import ImageStream, Pairing
from bestie.records import ImageRecord


def records(ids: list[str]) -> list[ImageRecord]:
    return [ImageRecord(row, name, "train", f"{name}.jpg", 4, 4, "", (1,)) for row, name in enumerate(ids)]


def stream(rows: list[int]) -> Iterator[tuple[int, Columns]]:
    return ((row, {"row": np.array([row])}) for row in rows)


def names(before: list[str], after: list[str]) -> list[tuple[str | None, str | None]]:
    pairs = Pairing(records(before), records(after))
    return [tuple(None if record is None else record.image_id for record in pair) for pair in pairs]


def test_images_are_paired_by_their_id_and_rows_ascend_in_both():
    assert names(["a", "b", "d"], ["x", "b", "c", "d", "e"]) == [
        ("a", None),
        (None, "x"),
        ("b", "b"),
        (None, "c"),
        ("d", "d"),
        (None, "e"),
    ]


def test_images_in_another_order_are_paired_all_the_same():
    assert not Pairing(records(["a", "b"]), records(["b", "a"])).ordered
    assert names(["a", "b"], ["b", "c", "a"]) == [("a", "a"), ("b", "b"), (None, "c")]


@given(st.lists(st.sampled_from("abcdef"), unique=True), st.lists(st.sampled_from("abcdef"), unique=True))
def test_every_image_comes_once(before: list[str], after: list[str]):
    pairs = names(before, after)
    assert sorted(old for old, _ in pairs if old) == sorted(before)
    assert sorted(new for _, new in pairs if new) == sorted(after)
    assert {old for old, new in pairs if old and new} == set(before) & set(after)
    if Pairing(records(before), records(after)).ordered:
        assert [old for old, _ in pairs if old] == before
        assert [new for _, new in pairs if new] == after


def test_a_stream_gives_the_rows_that_are_asked_for_and_nothing_where_there_is_none():
    images = ImageStream(stream([1, 4, 6]))
    assert [images.take(row).get("row", np.array([-1]))[0] for row in (0, 1, 2, 6, 9)] == [-1, 1, -1, 6, -1]


def test_a_stream_that_is_asked_in_any_order_holds_what_it_passes():
    images = ImageStream(stream([1, 4, 6]), ordered=False)
    assert [images.take(row).get("row", np.array([-1]))[0] for row in (6, 1, 2, 4)] == [6, 1, -1, 4]


@pytest.mark.parametrize("ordered", [True, False])
def test_an_empty_stream_has_nothing(ordered: bool):
    assert ImageStream(stream([]), ordered=ordered).take(0) == {}
