"""Section `import_wsss`: where the weakly supervised semantic maps come from."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from bestie.params.section import Section, option


def _numbers(numbers: dict[str, int]) -> dict[str, int]:
    if len(set(numbers.values())) < len(numbers):
        raise ValueError("must give each class a number of its own")
    return numbers


ClassNumbers = Annotated[dict[str, Annotated[int, Field(ge=1, le=254)]], AfterValidator(_numbers)]


class ImportWsss(Section):
    """Weakly supervised semantic maps."""

    source: Path = option(
        ..., "folder with one palette PNG or NPY a training image; data/make_wsss/maps.zarr: the run's own maps"
    )
    class_numbers: ClassNumbers | None = option(
        None, "class name -> its number on the maps of the folder; null: the category_id"
    )
