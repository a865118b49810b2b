"""From tables and seeds to runs: rows with the same parameters are one run."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bestie.errors import InputError
from bestie.profiles import assignment, compose
from bestie.tables.definition import Definition, Row, Variant

TRUE_MAPS = "data/raw/true_maps"
SEEDED = ("train_pam", "train_bestie", "train_mrcnn")


@dataclass(frozen=True)
class Run:
    """One training with its scores.

    Attributes:
        name: the first row that it belongs to, for people.
        seed: the seed of all its trainings.
        params: the whole of `params.yaml`.
        true_maps: the true semantic maps are written first, and are the WSSS maps.
        iterations: how often the network is trained again on its own instances.
    """

    name: str
    seed: int
    params: dict[str, Any]
    true_maps: bool
    iterations: int

    @property
    def identity(self) -> str:
        """A hash of everything but the name."""
        return digest([self.params, self.true_maps, self.iterations])


def digest(values: Any) -> str:
    """A short hash of JSON values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:20]


@dataclass(frozen=True)
class Plan:
    """All runs of some tables, and which rows and lines each of them serves.

    `runs_of` maps (key of the table or figure, number of the row or line) to one run a seed, in the order of the
    seeds; a row that cannot be run here has no entry.
    """

    definition: Definition
    profile: str
    seeds: tuple[int, ...]
    runs: tuple[Run, ...]
    runs_of: dict[tuple[str, int], tuple[Run, ...]]


def make_plan(
    definition: Definition, profile: str, *, folder: Path, seeds: Sequence[int], overrides: Iterable[str] = ()
) -> Plan:
    """The runs of a definition on a profile.

    Args:
        definition: tables and figures.
        profile: name of a file in `folder`.
        folder: the profiles.
        seeds: of the trainings.
        overrides: `section.key=value` texts under every row, over the profile.

    Raises:
        InputError: as `compose`; a wrong key of a row is named with the row; an override or the definition sets a seed
            of a training.
    """
    overrides = list(overrides)
    _check_seedless(overrides, "--set ")
    _check_seedless(_texts(definition.base), "base: ")
    data_format = compose(profile, folder=folder, overrides=overrides)["dataset"]["format"]
    runs: dict[str, Run] = {}
    runs_of: dict[tuple[str, int], tuple[Run, ...]] = {}
    for key, number, name, variant in _variants(definition):
        if isinstance(variant, Row) and variant.needs not in (None, data_format):
            continue
        _check_seedless(_texts(variant.set), f"{name}: ")
        found = []
        for seed in dict.fromkeys(seeds):
            params = _params(profile, folder, [*overrides, *_texts(definition.base)], variant, seed, name)
            run = Run(name, seed, params, variant.wsss == "true_maps", variant.iterations)
            found.append(runs.setdefault(run.identity, run))
        runs_of[key, number] = tuple(found)
    by_seed = sorted(runs.values(), key=lambda run: seeds.index(run.seed))
    return Plan(definition, profile, tuple(dict.fromkeys(seeds)), tuple(by_seed), runs_of)


def _check_seedless(texts: Iterable[str], where: str) -> None:
    """InputError for an assignment of what the seeds set; the message begins with `where` it stands."""
    for text in texts:
        for section, values in assignment(text).items():
            if section in SEEDED and isinstance(values, Mapping) and "seed" in values:
                raise InputError(f"{where}{text}: the trainings have the seeds of --seed; use --seed {values['seed']}")


def _variants(definition: Definition) -> Iterable[tuple[str, int, str, Variant]]:
    """(key, number, name, variant) of every row and line."""
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
    """Assignments as `compose` reads them; JSON is YAML."""
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]
