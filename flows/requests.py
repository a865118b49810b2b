"""What a run of the pipeline is asked to do."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bestie.errors import InputError


@dataclass(frozen=True)
class Request:
    """Parameters of one run.

    Attributes:
        targets: stages to bring up to date, with all stages that they depend on; none: every stage.
        set_params: `section.key=value` texts, which override parameters.
        profile: the profile from which the parameters are taken; None: those of the revision or the workspace.
        force: also run stages that are up to date.
        revision: the git revision; None: the one that is checked out.
        wait: wait for another run in the workspace to end; otherwise this run would be refused.
        spread: stage -> the number of parts of it that workers compute.
    """

    targets: tuple[str, ...] = ()
    set_params: tuple[str, ...] = ()
    profile: str | None = None
    force: bool = False
    revision: str | None = None
    wait: bool = False
    spread: Mapping[str, int] = field(default_factory=dict)


def parse_spread(texts: Iterable[str]) -> dict[str, int]:
    """Return stage -> number of parts, from texts such as `extract_cues=4`.

    Raises:
        InputError: a text has another form.
    """
    found = {}
    for text in texts:
        if (match := re.fullmatch(r"(\w+)=(\d{1,4})", text)) is None:
            raise InputError(f"--spread {text}: expected a stage and a number of parts, as extract_cues=4")
        found[match.group(1)] = int(match.group(2))
    return found
