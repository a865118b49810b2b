"""How far trainings of one configuration lie apart, so that a change can be told from chance."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@dataclass(frozen=True)
class Spread:
    """What was measured on a data set.

    Attributes:
        runs: number of runs of one configuration; 0 if none were measured.
        points: largest difference between two of them, in percentage points, by score ("bestie.map50").
    """

    runs: int = 0
    points: Mapping[str, float] = field(default_factory=dict)

    @property
    def note(self) -> str:
        """What readers should know of the changes on the page."""
        if not self.runs:
            return (
                "How far two trainings on this data set differ was not measured. On the demo, where it was, mAP50 of "
                f"Mask R-CNN differs by up to {spread_of('demo').points['mrcnn.map50']:.1f} between runs: train a "
                "second time with another seed before you believe a change."
            )
        return (
            f"Grey changes are not larger than those between {self.runs} runs of one configuration, which differ in "
            "their seed, number of threads, precision or processor."
        )


def spread_of(dataset: str) -> Spread:
    """Return what was measured on a data set, by its name (`dataset.name`)."""
    found = dict(_measured().get(dataset, {}))
    return Spread(found.pop("runs", 0), found)


@cache
def _measured() -> dict[str, dict[str, Any]]:
    return yaml.safe_load(files(__package__).joinpath("spread.yaml").read_text(encoding="utf-8"))
