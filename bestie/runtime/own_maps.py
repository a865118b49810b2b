"""Whether a run makes its own semantic maps, or imports those of another method."""

from bestie.artifacts.paths import OWN_MAPS, PARAMS
from bestie.params.import_wsss import ImportWsss
from bestie.params.reading import parse, read_yaml


def makes_own_maps() -> bool:
    """Return whether `import_wsss.source` names the maps that this run makes.

    Raises:
        InputError: the section of the parameter file is missing or wrong.
    """
    return parse(ImportWsss, read_yaml(PARAMS)["import_wsss"], source=f"{PARAMS}: import_wsss").source == OWN_MAPS
