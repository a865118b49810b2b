"""Class names in the forms that spreadsheets, pandas and people write them."""

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bestie.datasets.class_labels import check_alike, clean_name, names_in_cell, split_at_commas
from bestie.errors import InputError


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        ("cat", ["cat"]),
        (" cat ; dog;cat;", ["cat", "dog"]),
        ("['cat', 'dog']", ["cat", "dog"]),  # Python and pandas
        ('["cat", "dog"]', ["cat", "dog"]),  # JSON
        ("['cat' 'dog']", ["cat", "dog"]),  # numpy; as Python, it would be the one name catdog
        ("('cat',)", ["cat"]),
        ("{'dog', 'cat'}", ["dog", "cat"]),
        ("['it\\'s', \"a, b\"]", ["it's", "a, b"]),
        ("[cat, dog]", ["cat", "dog"]),
        ("[]", []),
        ("", []),
        ("NaN", []),
        ("None", []),
        ("<NA>", []),
        ("none;cat", ["none", "cat"]),  # a name among others is a name
        ("no", ["no"]),
        ("[red]y[/red]", ["[red]y[/red]"]),
        ("[/x]", ["[/x]"]),
        ("(a)", ["(a)"]),
        ("a(b)", ["a(b)"]),
        (["cat", " dog", ""], ["cat", "dog"]),
        (["a;b", "['x']"], ["a;b", "['x']"]),  # a list of Parquet needs no signs
        (None, []),
        (float("nan"), []),
    ],
)
def test_names_of_a_cell(cell: Any, names: list[str]):
    assert names_in_cell(cell) == names


@pytest.mark.parametrize("cell", [3, [1], {"a": 1}.items(), 2.5, True])
def test_what_is_no_name_is_refused(cell: Any):
    with pytest.raises(ValueError, match="neither a text"):
        names_in_cell(cell)


def test_known_names_stay_as_they_are():
    known = {"none", "a;b", "['x']"}
    assert [names_in_cell(name, known) for name in known] == [[name] for name in known]


@pytest.mark.parametrize(
    "written",
    [
        unicodedata.normalize("NFD", "étagère basse"),
        "étagère\u00a0basse",
        "étagère  basse",
        "\ufeffétagère\u200b basse ",
    ],
)
def test_spellings_that_look_the_same_are_one_name(written: str):
    assert clean_name(written) == unicodedata.normalize("NFC", "étagère basse")


def test_joiners_inside_a_word_belong_to_it():
    persian = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    assert clean_name(f"{persian}\u200c") == persian


@given(st.text())
def test_a_clean_name_is_clean(name: str):
    assert clean_name(clean_name(name)) == clean_name(name)


@given(st.lists(st.text(st.characters(categories=["L"]), min_size=3), min_size=1, unique=True))
def test_a_printed_list_holds_what_was_printed(names: list[str]):
    expected = list(dict.fromkeys(clean_name(name) for name in names))
    assert names_in_cell(repr(names)) == expected


def cells(*names: str) -> dict[str, list[str]]:
    return {f"line {number}": names_in_cell(name) for number, name in enumerate(names)}


@pytest.mark.parametrize(
    ("column", "last"),
    [
        (("cat", "dog", "cat, dog,"), ["cat", "dog"]),
        (("cat;bird", "cat,dog", "bird,dog"), ["bird", "dog"]),
        (("cat;dog,small", "cat,dog", "dog"), ["dog"]),
    ],
)
def test_commas_join_names_that_stand_elsewhere(column: tuple[str, ...], last: list[str]):
    found = split_at_commas(cells(*column))
    assert list(found) == list(cells(*column))
    assert found[f"line {len(column) - 1}"] == last


@pytest.mark.parametrize("column", [("cat", "cat,dog"), ("tench, Tinca tinca", "tench, Tinca tinca")])
def test_a_comma_that_may_be_part_of_a_name_is_asked_about(column: tuple[str, ...]):
    with pytest.raises(InputError, match=r"line \d: '.*,.*' may be one class or several. Join several by semicolons"):
        split_at_commas(cells(*column))


def test_known_names_keep_their_commas():
    known = {"tench, Tinca tinca", "cat"}
    column = cells("tench, Tinca tinca", "cat")
    assert split_at_commas(column, known) == column


@pytest.mark.parametrize(
    ("names", "how"),
    [(("cat", "Cat"), "upper and lower case"), (("cat", "c\u0430t"), r"another script \('cat', 'c\\u0430t'")],
)
def test_names_that_look_alike_are_refused_with_their_line(names: tuple[str, ...], how: str):
    with pytest.raises(InputError, match=rf"^line 1: the classes .* differ only by .*{how}.*prepare.categories"):
        check_alike({name: f"line {number}" for number, name in enumerate(names)})
    check_alike({"cat": "", "cart": "", "кот": ""})
