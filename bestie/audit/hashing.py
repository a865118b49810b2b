"""MD5 hashes as DVC computes them: of a file's bytes, and of a folder's listing of hashes."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

FOLDER_SUFFIX = ".dir"
BLOCK_BYTES = 2**20


def md5_stream(file: BinaryIO) -> str:
    """Return the MD5 of everything that is left to read in a file."""
    digest = hashlib.md5(usedforsecurity=False)
    while block := file.read(BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()


def md5_path(path: Path) -> str | None:
    """Return the hash of a file, or of a folder with ".dir" at its end; None if the path does not exist."""
    if path.is_dir():
        return md5_listing(list_folder(path))
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return md5_stream(file)


def list_folder(path: Path) -> dict[str, str]:
    """Return the MD5 of every file below a folder by its relative path, with "/" between the parts."""
    files = sorted(each for each in path.rglob("*") if each.is_file())
    return {each.relative_to(path).as_posix(): str(md5_path(each)) for each in files}


def md5_listing(listing: Mapping[str, str]) -> str:
    """Return the hash of a folder whose files have these MD5 hashes by relative path."""
    entries = [{"md5": listing[name], "relpath": name} for name in sorted(listing)]
    text = json.dumps(entries, sort_keys=True).encode()
    return hashlib.md5(text, usedforsecurity=False).hexdigest() + FOLDER_SUFFIX


def parse_listing(data: bytes) -> dict[str, str]:
    """Return the MD5 of each file from the bytes of DVC's listing. Raises ValueError if they are not a listing."""
    try:
        return {entry["relpath"]: entry["md5"] for entry in json.loads(data)}
    except (KeyError, TypeError) as error:
        raise ValueError(f"no listing of a folder: {error}") from error
