"""Strategies for files that are truncated, wrong, huge or hostile."""

import copy
import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

HUGE = (2**16, 2**31, 2**63, 10**400)
#: Values that somebody may put where a number, a name or a list belongs.
HOSTILE = st.one_of(
    st.sampled_from(
        [
            None,
            True,
            -1,
            0,
            0.5,
            *HUGE,
            float("nan"),
            float("inf"),
            -1e308,
            "",
            "x",
            "\0",
            "../../etc/passwd",
            [],
            [[]],
            {},
        ]
    ),
    st.integers(-(2**70), 2**70),
    st.text(max_size=8),
    st.recursive(st.none(), st.lists, max_leaves=4),
)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """The bytes of a file after up to three accidents: cut, overwritten, repeated, filled up."""
    data = whole
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, max(0, len(data) - 1)))
        stop = min(len(data), start + draw(st.integers(1, 64)))
        data = draw(
            st.sampled_from(
                [
                    data[:start],
                    data[:start] + data[stop:],
                    data[:stop] + data[start:],
                    data[:start] + draw(st.binary(min_size=1, max_size=16)) + data[stop:],
                    data[:start] + b"\xff" * (stop - start) + data[stop:],
                    data[:start] + bytes(stop - start) + data[stop:],
                ]
            )
        )
    return data


@st.composite
def wrong_text(draw: st.DrawFn, whole: str) -> bytes:
    """Lines of a text file, one of them replaced, or any damage to its bytes."""
    lines = whole.split("\n")
    lines[draw(st.integers(0, len(lines) - 1))] = draw(
        st.one_of(
            st.text(max_size=30),
            st.sampled_from(
                ["../../x", "/etc/passwd", "a\0b", "9" * 5000, "nan inf 1e999 -1", '"', ",,,,,", "x" * 200_000]
            ),
        )
    )
    text = "\n".join(lines).encode("utf-8", "surrogatepass")
    return draw(st.one_of(st.just(text), damaged(whole.encode())))


@st.composite
def wrong_json(draw: st.DrawFn, whole: Any) -> bytes:
    """A JSON document in which up to two values or keys are wrong, or any damage to its bytes."""
    if draw(st.integers(0, 5)) == 0:
        return draw(damaged(json.dumps(whole).encode()))
    content = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 2))):
        content = _replace(draw, content)
    return json.dumps(content).encode("utf-8", "surrogatepass")


def _replace(draw: Callable[[st.SearchStrategy], Any], value: Any) -> Any:
    """`value` with something in it replaced or removed; deeper values are as likely as outer ones."""
    if isinstance(value, dict) and value and draw(st.integers(0, 7)):
        key = draw(st.sampled_from(sorted(value)))
        rest = {name: each for name, each in value.items() if name != key}
        return rest if draw(st.integers(0, 5)) == 0 else {**rest, key: _replace(draw, value[key])}
    if isinstance(value, list) and value and draw(st.integers(0, 7)):
        index = draw(st.integers(0, len(value) - 1))
        return [*value[:index], _replace(draw, value[index]), *value[index + 1 :]]
    return draw(HOSTILE)
