"""What a check finds wrong, by file and place."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from bestie.errors import InputError

#: Findings that one check reports; a file that is wrong throughout is not listed row by row.
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
    """At most `LIMIT` findings of a check; a file that it cannot read is a finding too."""
    stream = iter(findings)
    try:
        yield from islice(stream, LIMIT)
        if next(stream, None) is not None:
            yield Finding(path, "", f"more is wrong; the first {LIMIT} findings are listed")
    except InputError as error:
        yield Finding(path, "", str(error))
