"""Small text files of a data set, such as lists, annotations and points, read safely whatever they contain."""

from functools import lru_cache
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from bestie.errors import InputError

#: Files that list images, or describe one, are far smaller.
MAX_BYTES = 64 * 2**20

#: The longest name, in bytes, that common file systems allow.
MAX_NAME = 255


def is_path_below(name: str) -> bool:
    """Return whether `name`, with forward slashes, is a path that can exist and stays below its folder."""
    path = PurePosixPath(name)
    outside = path.is_absolute() or ".." in path.parts or not path.name
    return not outside and name.isprintable() and all(len(part.encode()) <= MAX_NAME for part in path.parts)


def as_spelled(path: Path) -> Path:
    """Return the path whose last part is spelled as on the disk, or `path` itself if there is no such file.

    The same letters have two spellings in Unicode: macOS takes accented ones apart, most keyboards do not.
    """
    if path.exists() or path.name.isascii() or not path.parent.is_dir():
        return path
    names = _spellings(path.parent, path.parent.stat().st_mtime_ns)
    return path.with_name(names.get(normalize("NFC", path.name), path.name))


@lru_cache(maxsize=8)
def _spellings(folder: Path, _changed: int) -> dict[str, str]:
    return {normalize("NFC", each.name): each.name for each in folder.iterdir()}


def read_bytes(path: Path, *, missing: str) -> bytes:
    """Read the bytes of a file of at most `MAX_BYTES`.

    Args:
        path: the file.
        missing: what to do if it does not exist, for the message.

    Raises:
        InputError: the file is missing, cannot be read, or is too large.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path} has more than {MAX_BYTES // 2**20} MiB, so it is not what its place says.")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist. {missing}") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}). Restore the file.") from error


def read_text(path: Path, *, missing: str) -> str:
    """Read the text of a UTF-8 file, without a byte order mark.

    Raises InputError like `read_bytes`, and for another encoding.
    """
    try:
        return read_bytes(path, missing=missing).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text in UTF-8 ({error}). Restore the file.") from error
