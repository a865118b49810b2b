"""The whole of `params.yaml`: all sections, in the order of the pipeline."""

from pathlib import Path

from bestie.artifacts.paths import PARAMS
from bestie.params.dataset import Dataset
from bestie.params.evaluate import Evaluate
from bestie.params.export_mrcnn import ExportMrcnn
from bestie.params.extract_cues import ExtractCues
from bestie.params.import_wsss import ImportWsss
from bestie.params.make_pseudo_labels import MakePseudoLabels
from bestie.params.make_wsss import MakeWsss
from bestie.params.prepare import Prepare
from bestie.params.reading import parse, read_yaml
from bestie.params.section import Section
from bestie.params.train_bestie import TrainBestie
from bestie.params.train_mrcnn import TrainMrcnn
from bestie.params.train_pam import TrainPam
from bestie.params.train_wsss import TrainWsss


class Params(Section):
    """The whole of `params.yaml`."""

    dataset: Dataset
    prepare: Prepare
    train_pam: TrainPam
    extract_cues: ExtractCues
    train_wsss: TrainWsss
    make_wsss: MakeWsss
    import_wsss: ImportWsss
    make_pseudo_labels: MakePseudoLabels
    train_bestie: TrainBestie
    export_mrcnn: ExportMrcnn
    train_mrcnn: TrainMrcnn
    evaluate: Evaluate


def load_params(path: Path = PARAMS) -> Params:
    """Return all sections of a parameter file, checked.

    Raises:
        InputError: see `read_yaml` and `parse`.
    """
    return parse(Params, read_yaml(path), source=str(path))
