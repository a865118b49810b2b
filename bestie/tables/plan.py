"""The runs that tables and seeds need: rows with the same parameters share one run."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bestie.errors import InputError
from bestie.project.profiles import assignment, compose
from bestie.tables.definition import Definition, Row, Variant

TRUE_MAPS = "data/raw/true_maps"
SEEDED = ("train_pam", "train_wsss", "train_bestie", "train_mrcnn")


@dataclass(frozen=True)
class PlannedRun:
    """One run of the trainings and their scores.

    Attributes:
        name: the first row that uses the run, as users read it.
        seed: the seed of all its trainings.
        params: the complete content of `params.yaml`.
        true_maps: whether the true semantic maps are written first, and used as WSSS maps.
        iterations: how often the network is trained again on its own instances.
    """

    name: str
    seed: int
    params: dict[str, Any]
    true_maps: bool
    iterations: int

    @property
    def identity(self) -> str:
        """A hash of everything except the name."""
        return digest([self.params, self.true_maps, self.iterations])


def digest(values: Any) -> str:
    """Return a short hash of JSON values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:20]


@dataclass(frozen=True)
class Plan:
    """All runs of some tables and figures, and the rows and lines that use them.

    `runs_of` maps (key of the table or figure, number of the row or line) to one run per seed, in the order of the
    seeds. A row that cannot be run with this data set has no entry.
    """

    definition: Definition
    profile: str
    seeds: tuple[int, ...]
    runs: tuple[PlannedRun, ...]
    runs_of: dict[tuple[str, int], tuple[PlannedRun, ...]]


def make_plan(
    definition: Definition, profile: str, *, folder: Path, seeds: Sequence[int], overrides: Iterable[str] = ()
) -> Plan:
    """Return the runs that a definition needs on a profile.

    Args:
        definition: tables and figures.
        profile: the name of a profile in `folder`.
        folder: the folder of the profiles.
        seeds: the seeds of the trainings.
        overrides: `section.key=value` texts for all rows; they change the profile, and a row can change them again.

    Raises:
        InputError: a key or value is wrong, see `compose` (the message names its row); or an override or the definition
            sets the seed of a training.
    """
    overrides = list(overrides)
    _check_seedless(overrides, "--set ")
    _check_seedless(_texts(definition.base), "base: ")
    data_format = compose(profile, folder=folder, overrides=overrides)["dataset"]["format"]
    runs: dict[str, PlannedRun] = {}
    runs_of: dict[tuple[str, int], tuple[PlannedRun, ...]] = {}
    for key, number, name, variant in _variants(definition):
        if isinstance(variant, Row) and variant.needs not in (None, data_format):
            continue
        _check_seedless(_texts(variant.set), f"{name}: ")
        found = []
        for seed in dict.fromkeys(seeds):
            params = _params(profile, folder, [*overrides, *_texts(definition.base)], variant, seed, name)
            run = PlannedRun(name, seed, params, variant.wsss == "true_maps", variant.iterations)
            found.append(runs.setdefault(run.identity, run))
        runs_of[key, number] = tuple(found)
    by_seed = sorted(runs.values(), key=lambda run: seeds.index(run.seed))
    return Plan(definition, profile, tuple(dict.fromkeys(seeds)), tuple(by_seed), runs_of)


def _check_seedless(texts: Iterable[str], where: str) -> None:
    """Raise InputError if an assignment sets the seed of a training; the message begins with `where` it stands."""
    for text in texts:
        for section, values in assignment(text).items():
            if section in SEEDED and isinstance(values, Mapping) and "seed" in values:
                raise InputError(f"{where}{text}: the trainings have the seeds of --seed; use --seed {values['seed']}")


def _variants(definition: Definition) -> Iterable[tuple[str, int, str, Variant]]:
    """Yield (key, number, name, variant) of every row and line."""
    for key, table in definition.tables.items():
        for number, row in enumerate(table.rows):
            yield key, number, f"{key} [{', '.join(row.cells)}]", row
    for key, figure in definition.figures.items():
        for number, line in enumerate(figure.lines):
            yield key, number, f"{key} [{line.name}]", line


def _params(
    profile: str, folder: Path, overrides: Sequence[str], variant: Variant, seed: int, name: str
) -> dict[str, Any]:
    texts = [*overrides, *_texts(variant.set), *(f"{section}.seed={seed}" for section in SEEDED)]
    if variant.wsss == "true_maps":
        texts.append(f"import_wsss.source={TRUE_MAPS}")
    try:
        return compose(profile, folder=folder, overrides=texts)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def _texts(values: Mapping[str, Any]) -> list[str]:
    """Return assignments as `compose` reads them; JSON values are valid YAML."""
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]
