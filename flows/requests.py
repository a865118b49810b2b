"""What a run of the pipeline was asked for."""

from dataclasses import dataclass


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
    """

    targets: tuple[str, ...] = ()
    set_params: tuple[str, ...] = ()
    profile: str | None = None
    force: bool = False
    revision: str | None = None
    wait: bool = False
