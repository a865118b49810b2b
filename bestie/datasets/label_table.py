"""The label table of a folder of images: the files, their labels, and their splits."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from bestie.artifacts.own_table import OwnRow, column_names, read_own_table
from bestie.datasets.class_labels import check_alike, clean_name, names_in_cell, split_at_commas
from bestie.datasets.text_files import is_path_below
from bestie.errors import InputError

FOLDER_SPLITS = {"train": "train", "val": "val"}
#: Other words for these splits.
SPLIT_WORDS = {"training": "train", "valid": "val", "validation": "val"}
REQUIRED, OPTIONAL = ("file", "labels"), ("split",)
#: How a column of a class says that an image shows it or not, and columns of numbers that are no classes.
MARKS = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}
NUMBERS = ("category", "class", "fold", "id", "index", "label", "target", "y")


@dataclass(frozen=True)
class LabeledFile:
    """One row of the table: a file, its class names, and its split (None: the table has no such column).

    `file` is a path below the data set's folder, with forward slashes; `where` is the row's place in the table.
    """

    file: str
    labels: tuple[str, ...]
    split: str | None
    where: str

    @property
    def image_id(self) -> str:
        """The file's path without its suffix."""
        return str(PurePosixPath(self.file).with_suffix(""))


def read_label_table(path: Path, categories: Collection[str] | None = None) -> list[LabeledFile]:
    """Read all rows of a table with the columns `file`, `labels` and, optionally, `split`, in their order.

    `labels` are class names: a list in Parquet, joined by semicolons in CSV. An image without objects has none. Names
    that are joined by commas or bars or printed as a list are read, too (`bestie.datasets.class_labels`), and so are
    tables with a column of 0 and 1 for each class in the place of `labels`.

    Args:
        path: the table.
        categories: the class names, if they are known; they may hold commas.

    Raises:
        InputError: the table is missing or malformed, names no image, a path outside its folder, or an image twice, or
            it is not clear which classes a cell names.
    """
    known = {clean_name(name) for name in categories or ()}
    seen: dict[str, LabeledFile] = {}
    as_text = False
    for row in _rows(path):
        entry = _labeled_file(row, known)
        as_text |= isinstance(row.values["labels"], str)
        if (first := seen.setdefault(entry.image_id, entry)) is not entry:
            raise InputError(
                f"{entry.where}: {entry.file} is the image {entry.image_id}, as {first.file} is ({first.where}). "
                "Keep one line for each image, with all of its labels."
            )
    if not seen:
        raise InputError(f"{path} names no image. Add a line for each.")
    if not as_text:  # the lists of Parquet
        return list(seen.values())
    labels = split_at_commas({entry.where: list(entry.labels) for entry in seen.values()}, known)
    return [replace(entry, labels=tuple(labels[entry.where])) for entry in seen.values()]


def class_names(path: Path, listed: Sequence[LabeledFile], categories: Sequence[str] | None) -> tuple[str, ...]:
    """Return the class names in the order of their category_id: `categories`, or the table's labels, sorted.

    Args:
        path: the table, for messages.
        listed: its rows.
        categories: names, or None.

    Raises:
        InputError: there is no class, a label is not among `categories`, or without these, two labels look the same.
    """
    if categories is None:
        places = {name: entry.where for entry in listed for name in entry.labels}
        check_alike(places)
        names = tuple(sorted(places))
    else:
        names = tuple(clean_name(name) for name in categories)
    if not names:
        raise InputError(f"{path} names no class. Write class names into the column labels.")
    for entry in listed:
        check_names(entry.labels, names, entry.where)
    return names


def check_names(labels: Iterable[str], names: Collection[str], where: str) -> None:
    """Raise InputError, naming `where`, for the first of `labels` that is not among the class names."""
    for label in labels:
        if label not in names:
            raise InputError(
                f"{where}: '{label[:80]}' is no category of the data set. "
                "Correct the name or add it to prepare.categories."
            )


def split_images(
    path: Path, listed: Sequence[LabeledFile], splits: Mapping[str, str], val_fraction: float = 0
) -> dict[str, tuple[str, ...]]:
    """Return the image ids of each split; if the table has no column `split`, all other images belong to "train".

    Args:
        path: the table, for messages.
        listed: its rows.
        splits: split -> values of the column that belong to it, joined by ",". Capitals make no difference, nor do
            other words (`SPLIT_WORDS`).
        val_fraction: part of the images that are for validation, 0..1, if the table has no column `split`.

    Raises:
        InputError: no image is left for training, a value belongs to two splits, only some rows have a split, or both
            the column and `val_fraction` choose.
    """
    if all(entry.split is None for entry in listed):
        drawn = {entry.image_id: _drawn_split(entry.image_id, val_fraction) for entry in listed}
        if "train" not in drawn.values():
            raise InputError(f"prepare.folder.val_fraction: {val_fraction} leaves no image for training; give less")
        return {split: tuple(name for name, other in drawn.items() if other == split) for split in splits}
    if val_fraction:
        raise InputError(f"{path} has a column split already. Leave it out, or set prepare.folder.val_fraction to 0.")
    if without := next((entry for entry in listed if entry.split is None), None):  # a null in Parquet
        raise InputError(f"{without.where}: there is no split. Write {splits['train']}, or leave out the column.")
    wanted = _values_of(splits)
    if both := wanted["train"] & wanted.get("val", set()):
        raise InputError(f"prepare.train_list and prepare.val_list both name the split '{min(both)}'. Correct one.")
    samples = {
        split: tuple(each.image_id for each in listed if _split_word(str(each.split)) in names)
        for split, names in wanted.items()
    }
    if not samples["train"]:
        known = ", ".join(sorted({str(entry.split) for entry in listed}))[:200]
        raise InputError(
            f"{path} has no image of the split '{splits['train']}', only of {known}. "
            "Correct the column split or prepare.train_list."
        )
    return samples


def other_splits(listed: Sequence[LabeledFile], splits: Mapping[str, str]) -> dict[str, int]:
    """Count the images of each value of the column `split` that belongs to none of `splits`; they are left out."""
    known = set().union(*_values_of(splits).values())
    counts = Counter(each.split for each in listed if each.split is not None and _split_word(each.split) not in known)
    return dict(sorted(counts.items()))


def unread_columns(path: Path) -> tuple[str, ...]:
    """Return the columns of a label table that nothing reads, such as a misspelled one.

    Raises InputError if the file is missing or not a table.
    """
    return tuple(name for name in column_names(path) if name.casefold() not in (*REQUIRED, *OPTIONAL))


def file_of(row: OwnRow) -> str:
    """Return the column `file` as a path, backslashes as slashes and accented letters in one piece (Unicode's NFC).

    Raises:
        InputError: it is not a path below the data set's folder.
    """
    path = PurePosixPath(normalize("NFC", str(row.values["file"] or "").strip().replace("\\", "/")))
    if not is_path_below(str(path)):
        raise InputError(
            f"{row.where}: {str(row.values['file'])[:80]!r} is no path below the data set's folder. Correct it."
        )
    return str(path)


def _rows(path: Path) -> Iterator[OwnRow]:
    """Yield the rows with the columns `file`, `labels` and `split`; labels are a list where classes have columns."""
    names = column_names(path)
    classes = [name for name in names if name.casefold() not in (*REQUIRED, *OPTIONAL)]
    marked = not any(name.casefold() == "labels" for name in names) and len(classes) > 1
    if not marked or any(name.casefold() in NUMBERS for name in classes):
        yield from read_own_table(path, required=REQUIRED, optional=OPTIONAL)
        return
    for row in read_own_table(path, required=("file", *classes), optional=OPTIONAL):
        marks = {name: MARKS.get(str(row.values[name]).strip().casefold()) for name in classes}
        if wrong := next((name for name, mark in marks.items() if mark is None), None):
            raise InputError(
                f"{row.where}: there is no column labels, and {wrong} is {str(row.values[wrong])[:80]!r}. Write class "
                "names into a column labels, or 0 and 1 into a column for each class, and remove the other columns."
            )
        yield OwnRow(row.where, {**row.values, "labels": [name for name, mark in marks.items() if mark]})


def _drawn_split(image_id: str, val_fraction: float) -> str:
    """Return the split of an image by the hash of its name, so that it stays when other images come and go."""
    drawn = int.from_bytes(sha256(image_id.encode()).digest()[:8]) / 2**64
    return "val" if drawn < val_fraction else "train"


def _values_of(splits: Mapping[str, str]) -> dict[str, set[str]]:
    return {split: {_split_word(name) for name in names.split(",")} for split, names in splits.items()}


def _split_word(name: str) -> str:
    """Return the name of a split in small letters, and `train` and `val` for other words for them."""
    word = name.strip().casefold()
    return SPLIT_WORDS.get(word, word)


def _labeled_file(row: OwnRow, known: Collection[str]) -> LabeledFile:
    labels, split = row.values["labels"], row.values["split"]
    try:
        names = names_in_cell(labels, known)
    except ValueError:
        raise InputError(
            f"{row.where}: the labels {str(labels)[:80]!r} are no class names. Write names, joined by semicolons."
        ) from None
    if split is not None and not (isinstance(split, str) and split.strip()):
        raise InputError(f"{row.where}: the split is {str(split)[:80]!r}. Write train or val, or leave out the column.")
    return LabeledFile(
        file=file_of(row),
        labels=tuple(names),
        split=None if split is None else split.strip(),
        where=row.where,
    )
