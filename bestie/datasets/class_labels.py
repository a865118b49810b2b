"""Class names as people and tools write them into a table: joined by semicolons, commas or bars, a list, or none."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from bestie.errors import InputError

#: What spreadsheets and pandas write into a cell that has no value.
NO_LABEL = ("", "nan", "none", "null", "n/a", "na", "<na>")
#: Invisible characters that belong to the spelling of some scripts.
JOINERS = "\u200c\u200d"
QUOTED = re.compile(r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)\"""")
#: Letters that look like those of the second row, in lower case.
LOOK_ALIKE = str.maketrans("авекмнорстухіјѕԁοανρτικ", "abekmhopctyxijsdoavptik")


def clean_name(name: str) -> str:
    """Return a name in Unicode's composed form (NFC), with single spaces and without invisible characters."""
    composed = unicodedata.normalize("NFC", name)
    visible = "".join(c for c in composed if c in JOINERS or unicodedata.category(c) != "Cf")
    return " ".join(visible.split()).strip(JOINERS)


def names_in_cell(value: Any, known: Collection[str] = ()) -> list[str]:
    """Return the class names of one cell, each once.

    Args:
        value: a list of names (Parquet), or a text: names joined by semicolons, a list as Python, JSON or numpy print
            it, or a word for "no value". Commas and bars are left in a text, see `split_at_commas`.
        known: names that stay as they are, whatever is in them.

    Raises:
        ValueError: the value is neither a text nor a list of texts.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return []
    if isinstance(value, str):
        text = clean_name(value)
        names = [text] if text in known else _names_in_text(text)
    else:
        names = list(value) if isinstance(value, Iterable) else [value]
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"{value!r} is neither a text nor a list of texts")
    return list(dict.fromkeys(cleaned for name in names if (cleaned := clean_name(name))))


def _names_in_text(text: str) -> list[str]:
    if text.casefold() in NO_LABEL:
        return []
    printed = _printed_list(text)
    return text.split(";") if printed is None else printed


def _printed_list(text: str) -> list[str] | None:
    """Return the names of a list that a program has printed, or None for any other text."""
    inside = re.fullmatch(r"\[(.*)\]|\((.*)\)|\{(.*)\}", text)
    if inside is None:
        return None
    content = next(part for part in inside.groups() if part is not None)
    if not content.strip(", "):
        return []
    if re.fullmatch(r"[\s,;]*", QUOTED.sub("", content)):
        return [re.sub(r"\\(.)", r"\1", single or double) for single, double in QUOTED.findall(content)]
    if text[0] == "[" and re.search("[,;]", content) and not re.search(r"""[\[\]'"]""", content):
        return re.split("[,;]", content)
    return None


def split_at_commas(cells: Mapping[str, list[str]], known: Collection[str] = ()) -> dict[str, list[str]]:
    """Return the names of all cells of a table, those with a comma or bar as several where the table shows it.

    That is so if each part is the only name of another cell, among the names of one, or a part of two different texts.

    Args:
        cells: place in the table -> names of the cell (`names_in_cell`).
        known: names that stay as they are.

    Raises:
        InputError: a cell may be one name or several.
    """
    doubtful = {
        where: names[0]
        for where, names in cells.items()
        if len(names) == 1 and re.search("[,|]", names[0]) and names[0] not in known
    }
    parts = {text: [clean_name(part) for part in re.split("[,|]", text) if part.strip()] for text in doubtful.values()}
    elsewhere = {name for where, names in cells.items() if where not in doubtful for name in names} | set(known)
    texts = Counter(part for found in parts.values() for part in set(found))
    split = {}
    for where, text in doubtful.items():
        if not all(part in elsewhere or texts[part] > 1 for part in parts[text]):
            raise InputError(
                f"{where}: '{text[:80]}' may be one class or several. Join several by semicolons; if it is one, name "
                "all classes in prepare.categories (`bestie init --classes`)."
            )
        split[where] = list(dict.fromkeys(parts[text]))
    return {**cells, **split}


def check_alike(places: Mapping[str, str]) -> None:
    """Raise InputError if two class names differ only by upper case or by letters that look the same.

    Args:
        places: class name -> a place where it stands, for the message.
    """
    seen: dict[str, str] = {}
    for name, where in places.items():
        first = seen.setdefault(name.casefold().translate(LOOK_ALIKE), name)
        if first == name:
            continue
        by_case = first.casefold() == name.casefold()
        how = "upper and lower case" if by_case else f"letters of another script ({first!a}, {name!a})"
        raise InputError(
            f"{where}: the classes '{first[:80]}' and '{name[:80]}' differ only by {how}. Write them alike; if they "
            "are two, name all classes in prepare.categories (`bestie init --classes`)."
        )
