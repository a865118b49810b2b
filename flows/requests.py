"""What a run of the pipeline was asked for."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bestie.errors import InputError


@dataclass(frozen=True)
class Request:
    """Parameters of one run.

    Attributes:
        targets: stages to bring up to date, with all that they are made from; none: every stage.
        set_params: `section.key=value` texts, on top of the parameters.
        profile: the profile that the parameters come from; None: those of the revision or the workspace.
        force: run stages that are up to date, too.
        revision: the git revision; None: what is checked out.
        wait: wait for another run in the workspace, where this one would else be refused.
        spread: stage -> the number of parts that workers compute of it.
    """

    targets: tuple[str, ...] = ()
    set_params: tuple[str, ...] = ()
    profile: str | None = None
    force: bool = False
    revision: str | None = None
    wait: bool = False
    spread: Mapping[str, int] = field(default_factory=dict)


def parse_spread(texts: Iterable[str]) -> dict[str, int]:
    """Stage -> number of parts, from texts as `extract_cues=4`. Raises InputError."""
    found = {}
    for text in texts:
        if (match := re.fullmatch(r"(\w+)=(\d{1,4})", text)) is None:
            raise InputError(f"--spread {text}: expected a stage and a number of parts, as extract_cues=4")
        found[match.group(1)] = int(match.group(2))
    return found
