"""The content of `tables.yaml`: rows as parameters, with the paper's numbers beside them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from bestie.errors import InputError
from bestie.params.reading import parse, read_yaml
from bestie.params.section import Section

DEFINITION = Path(__file__).with_name("tables.yaml")
WSSS_TABLE = "table4"

#: The scores that a table can show, and their names; all are in per cent.
SCORES = {
    "map25": "mAP25",
    "map50": "mAP50",
    "map70": "mAP70",
    "map75": "mAP75",
    "true_map50": "mAP50 with the true semantic map",
    "mrcnn_map50": "Mask R-CNN mAP50",
    "semantic_miou": "mIoU of the network",
    "wsss_miou": "mIoU of the maps",
    "pseudo_recall": "objects with a right pseudo label",
    "pseudo_precision": "pseudo labels that are right",
}


def _known(name: str) -> str:
    if name not in SCORES:
        raise ValueError(f"is no score; choose from {', '.join(SCORES)}")
    return name


Score = Annotated[str, AfterValidator(_known)]


class Variant(Section):
    """The differences of one run from the complete method.

    Attributes:
        set: parameters, with the keys of `bestie profile --set`.
        wsss: `true_maps` trains with the true semantic maps instead of the WSSS maps.
        iterations: how often the network is trained again on its own instances.
    """

    set: dict[str, Any] = Field(default_factory=dict)
    wsss: Literal["true_maps"] | None = None
    iterations: int = Field(0, ge=0)


class Row(Variant):
    """One row of a table.

    Attributes:
        cells: the first columns of the row.
        paper: the paper's scores, in per cent.
        x: the position of the row on the chart's axis.
        needs: `shapes` runs the row only with a data set that draws its own WSSS maps.
    """

    cells: tuple[str, ...]
    paper: dict[Score, float] = Field(default_factory=dict)
    x: float | None = None
    needs: Literal["shapes"] | None = None


class Table(Section):
    """One table. If it is `ascending`, each row has one more ✓ and should score at least as well as the row before."""

    title: str
    note: str = ""
    columns: tuple[str, ...]
    scores: tuple[Score, ...] = ("map50",)
    ascending: bool = False
    rows: tuple[Row, ...]

    @model_validator(mode="after")
    def _cells_fit(self) -> "Table":
        for row in self.rows:
            if len(row.cells) != len(self.columns):
                raise ValueError(f"the row {list(row.cells)} needs one cell for each of {list(self.columns)}")
        return self


class CurveLine(Variant):
    """One line of a figure; a `constant` one has the score of the pseudo labels, which do not change."""

    name: str
    constant: bool = False


class Figure(Section):
    """Curves over the epochs of a training."""

    title: str
    note: str = ""
    quantity: Literal["true_positives", "map50"]
    lines: tuple[CurveLine, ...]


class Definition(Section):
    """The whole file. `base` holds parameters that every row sets, whatever the profile says."""

    base: dict[str, Any] = Field(default_factory=dict)
    tables: dict[str, Table]
    figures: dict[str, Figure] = Field(default_factory=dict)

    @property
    def parts(self) -> dict[str, Table | Figure]:
        """Tables and figures by key, in the order of the file."""
        return {**self.tables, **self.figures}


def read_definition(path: Path = DEFINITION, *, keys: Iterable[str] = ()) -> Definition:
    """Return the tables and figures of a file.

    Args:
        path: the file.
        keys: the tables and figures to return; all if empty.

    Raises:
        InputError: the file is missing or wrong, or has no table or figure with one of the keys.
    """
    definition = parse(Definition, read_yaml(path), source=str(path))
    wanted = set(keys)
    if unknown := sorted(wanted - set(definition.parts)):
        raise InputError(f"{path} has no table {unknown[0]!r}; choose from {', '.join(definition.parts)}")
    if not wanted:
        return definition
    return definition.model_copy(
        update={
            "tables": {key: table for key, table in definition.tables.items() if key in wanted},
            "figures": {key: figure for key, figure in definition.figures.items() if key in wanted},
        }
    )


def with_wsss(definition: Definition, folders: Mapping[str, str]) -> Definition:
    """Return a definition in which rows of Table 4 read their WSSS maps from given folders.

    Args:
        definition: tables and figures; without Table 4, nothing changes.
        folders: name -> folder. The name is the first cell of a row; a name that no row has gets its own row.
    """
    table = definition.tables.get(WSSS_TABLE)
    if table is None or not folders:
        return definition
    rows = list(table.rows)
    for name, folder in folders.items():
        given: dict[str, Any] = {"set": {"import_wsss.source": folder}, "needs": None, "wsss": None}
        place = next((k for k, row in enumerate(rows) if row.cells[0].lower() == name.lower()), None)
        if place is None:
            rows.append(Row(cells=(name, *[""] * (len(table.columns) - 1)), **given))
        else:
            rows[place] = rows[place].model_copy(update=given)
    changed = table.model_copy(update={"rows": tuple(rows)})
    return definition.model_copy(update={"tables": {**definition.tables, WSSS_TABLE: changed}})
