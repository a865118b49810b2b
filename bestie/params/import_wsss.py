"""Section `import_wsss`: where the weakly supervised semantic maps come from."""

from pathlib import Path

from bestie.params.section import Section, option


class ImportWsss(Section):
    """Weakly supervised semantic maps."""

    source: Path = option(
        ..., "folder with one palette PNG or NPY a training image; data/make_wsss/maps.zarr: the run's own maps"
    )
