"""The findings of a check: what is wrong, in which file and where in it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from bestie.errors import InputError

#: The most findings that one check reports, so that a file that is wrong throughout is not listed row by row.
LIMIT = 20


@dataclass(frozen=True)
class Finding:
    """One fault: the file, the place in it (image, row, instance; "" for the whole file), and what is wrong."""

    path: str
    place: str
    problem: str

    def __str__(self) -> str:
        return f"{self.path}: {self.place}: {self.problem}" if self.place else f"{self.path}: {self.problem}"


def limited(path: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield at most `LIMIT` findings of a check, and whether there are more; a file that it cannot read is one too."""
    stream = iter(findings)
    try:
        yield from islice(stream, LIMIT)
        if next(stream, None) is not None:
            yield Finding(path, "", f"more is wrong; the first {LIMIT} findings are listed")
    except InputError as error:
        yield Finding(path, "", str(error))
