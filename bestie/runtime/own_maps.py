"""Whether a run makes its own semantic maps, or imports those of another method."""

from bestie.artifacts.paths import OWN_MAPS
from bestie.params.import_wsss import ImportWsss
from bestie.runtime.stage import load_section


def makes_own_maps() -> bool:
    """Return whether `import_wsss.source` names the maps that this run makes. Raises InputError like `load_section`."""
    return load_section("import_wsss", ImportWsss)[1].source == OWN_MAPS
