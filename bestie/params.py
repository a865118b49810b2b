"""Typed parameters: one frozen model per section of `params.yaml`, unknown keys refused by name.

`params.yaml` holds what changes results. What does not (device, workers, progress) is read from the
environment by `bestie.settings`. A stage is handed its own section and `dataset`, nothing else.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from bestie.folders import GENERATED_ROOT

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # NumPy takes no others


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("must be odd, since a window needs a middle pixel")
    return value


def _with_half(values: tuple[float, ...]) -> tuple[float, ...]:
    if 0.5 not in values:
        raise ValueError("0.5 must be among them: curves and comparisons are made there")
    return values


def _not_empty(values: tuple[float, ...]) -> tuple[float, ...]:
    if not values:
        raise ValueError("must name at least one size; [1.0] is the image as it is")
    return values


def _class_names(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("must name at least one class; null takes the format's own")
    if not all(name.strip() for name in names) or len(set(names)) < len(names):
        raise ValueError("must name each class once, and none by an empty name")
    return names


Window = Annotated[Count, AfterValidator(_odd)]
Scales = Annotated[tuple[Positive, ...], AfterValidator(_not_empty)]
ClassNames = Annotated[tuple[str, ...], AfterValidator(_class_names)]
Precision = Literal["fp32", "bf16"]


class Section(BaseModel):
    """Base of every section: immutable, and a key that nobody reads is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Dataset(Section):
    """Which images, where, and how they are labelled."""

    name: str
    format: Literal["shapes", "voc", "coco", "folder"]
    root: Path = Field(description="folder of the data set; for `shapes` the generator's code")
    supervision: Literal["image", "point"] = "image"

    @property
    def image_root(self) -> Path:
        """The folder that the paths in `images.parquet` start from."""
        return GENERATED_ROOT if self.format == "shapes" else self.root


class Shapes(Section):
    """The generated data set: sizes in px, counts in images."""

    seed: Seed = 0
    num_train: Count = 360
    num_val: Count = 120
    min_side_px: Count = 112
    max_side_px: Count = 144
    max_objects: Count = 6
    repeats: int = Field(0, ge=0, le=100, description="most copies of its badge on a body; 0: a tail mark instead")
    overlap_fraction: Fraction = 1 / 3
    wsss_miou: Annotated[float, Field(ge=0.5, le=1)] = 0.7


class Folder(Section):
    """The tables of a data set with `dataset.format: folder`; paths are relative to `dataset.root`."""

    labels: Path = Field(Path("labels.csv"), description="CSV or Parquet with file, labels and, optionally, split")
    points: Path | None = Field(None, description="CSV or Parquet with file, x, y, label")
    annotations: Path | None = Field(None, description="true masks in COCO's format, for evaluation alone")


class Prepare(Section):
    """Image lists and categories; `limit_*` takes the first images of a list (None: all)."""

    train_list: str = Field("train", description="VOC: files of ImageSets; COCO: an annotation file; folder: a split")
    val_list: str = "val"
    categories: ClassNames | None = Field(None, description="None: the format's own")
    limit_train: Count | None = None
    limit_val: Count | None = None
    on_error: Literal["fail", "skip"] = Field("fail", description="a bad sample: stop, or set it aside with its reason")
    folder: Folder = Folder()
    shapes: Shapes = Shapes()


class Optimizer(Section):
    """How weights move. `warmup_fraction` and the schedule are in units of the whole training."""

    name: Literal["sgd", "adam", "adamw"] = "adamw"
    learning_rate: Positive = 1e-3
    backbone_factor: Annotated[float, Field(ge=0)] = Field(1.0, description="times the learning rate")
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    momentum: Fraction = 0.9
    schedule: Literal["polynomial", "cosine", "steps", "constant"] = "polynomial"
    steps: tuple[Fraction, ...] = Field((), description="where `steps` divides the rate by ten")
    warmup_fraction: Fraction = 0.0


class Backbone(Section):
    """A feature extractor of `timm`, and where its first weights come from.

    `name` may carry the tag of a weight file of `timm`, as in `resnet50.tv_in1k`, which `weights: download` fetches.
    """

    name: str = "resnet10t"
    weights: str = Field("random", description="random, download, previous (the stage before), or a file")
    sha256: str | None = Field(None, description="refuse a weight file with another hash")
    output_stride: Literal[8, 16, 32] = 16
    stages: Count | None = Field(None, description="keep the first so many feature maps of timm; None: all")
    width_factor: Positive = Field(1.0, description="channels of a ResNet times this; other models take 1 alone")
    trainable: bool = Field(True, description="false keeps its weights, which suits little data and few minutes")
    frozen_stages: Annotated[int, Field(ge=0, description="the first so many stages keep their weights")] = 0


class Training(Section):
    """What every training stage has."""

    seed: Seed = 0
    epochs: Count
    batch_size: Count
    precision: Precision = "bf16"
    optimizer: Optimizer = Optimizer()
    backbone: Backbone = Backbone()


class Augmentation(Section):
    """Random crop of `crop_px` after scaling by a factor drawn from `scale`, flip, colour jitter."""

    crop_px: Count = 128
    scale: tuple[Positive, Positive] = (0.8, 1.25)
    flip: bool = True
    jitter: Fraction = 0.3


class TrainPam(Training):
    """The classifier with the peak attention module (Section 3.3, Figure 10)."""

    trained: str | None = Field(None, description="a finished classifier to take over, which is not trained further")
    augmentation: Augmentation = Augmentation()
    width: Count = Field(256, description="channels of the three added convolution layers")
    alpha: Fraction = Field(0.7, description="what is below alpha times the channel's maximum is zeroed")
    attention_layers: tuple[Literal[4, 5, 6], ...] = Field((6,), description="Table 8; () is a plain CAM")
    plain_epochs: Annotated[int, Field(ge=0)] = Field(0, description="first epochs without the module")
    pointwise_start: bool = Field(True, description="added layers start as 1 x 1 filters; false: He initialisation")


class ExtractCues(Section):
    """Local maxima of the activation maps (Listing 3)."""

    threshold: Fraction = Field(0.5, description="the paper's 0.5; the authors' release takes 0.7")
    window_px: Window = 15
    max_per_class: Count = 25
    scales: Scales = (1.0,)
    flip: bool = True
    precision: Precision = "bf16"


class ImportWsss(Section):
    """Weakly supervised semantic maps: a folder with one palette PNG or NPY a training image."""

    source: Path


class MakePseudoLabels(Section):
    """Semantic knowledge transfer (Section 3.3, Listing 4)."""

    min_area_px: Count = 50
    sigma_px: Positive = 6.0


class Grouping(Section):
    """Centres of a centre map: maxima of a `window_px` square above `threshold` (Section 3.2)."""

    window_px: Window = 41
    threshold: Fraction = 0.1


class Refinement(Section):
    """Online self-refinement with center clustering (Section 3.5, appendix)."""

    enabled: bool = True
    cluster: bool = True
    cluster_distance_px: Positive = Field(100.0, description="from other centres to one that the offset map shows")
    threshold: Fraction = 0.3
    window_px: Window = 41
    max_per_component: Count = 5
    confidence: Literal["center", "release"] = "center"
    average: bool = Field(False, description="halve pseudo and refined terms, as the release does")
    start_fraction: Fraction = Field(0.0, description="part of the training that runs without")


class TrainBestie(Training):
    """The network with semantic, centre and offset heads (Sections 3.2, 3.4, 3.5)."""

    trained: str | None = Field(None, description="a finished network to take over, which is not trained further")
    augmentation: Augmentation = Augmentation()
    decoder: Literal["fuse", "panoptic_deeplab", "hrnet"] = "fuse"
    width: Count = 64
    class_wise: bool = True
    sigma_px: Positive = 6.0
    instance_aware_guidance: bool = True
    refinement: Refinement = Refinement()
    lambda_center: Positive = 200.0
    lambda_offset: Positive = 0.01
    lambda_semantic: Positive = 1.0
    hard_pixel_fraction: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="part of the pixels that the semantic loss keeps"
    )
    hard_pixel_start: Fraction = Field(0.5, description="part of the training before hard pixels alone count")
    background_weight: Positive = Field(1.0, description="of a background pixel in the semantic loss")
    class_balance: Fraction = Field(0.0, description="0: pixels of all classes count alike; 1: all classes do")
    evolution_every: Annotated[int, Field(ge=0)] = Field(5, description="epochs between snapshots; 0: none")
    evolution_images: Count = 100
    snapshot_grouping: Grouping = Grouping()


class ExportMrcnn(Section):
    """The network on the training images, as labels for any Mask R-CNN."""

    grouping: Grouping = Grouping()
    flip: bool = True
    instance_scales: Scales = Field((1.0,), description="sizes of the image whose center and offset maps are averaged")
    min_score: Fraction = 0.0
    min_area_px: Count = 16
    use_image_labels: bool = Field(True, description="drop classes that the image is not labelled with")
    precision: Precision = "bf16"


class TrainMrcnn(Training):
    """Mask R-CNN on the export.

    `architecture: maskrcnn_resnet50_fpn` is torchvision's own model: it takes first weights of a ResNet-50, sizes
    and proposals are its own, and of the keys below only `min_side_px`, `max_side_px` and `jitter` count.
    """

    architecture: Literal["maskrcnn_timm_fpn", "maskrcnn_resnet50_fpn"] = "maskrcnn_timm_fpn"
    min_side_px: Count = 128
    max_side_px: Count = 160
    width: Count = 96
    anchor_sizes_px: tuple[Count, ...] = (16, 32, 64)
    proposals: Count = 100
    box_batch: Count = 64
    jitter: Fraction = 0.3


class Evaluate(Section):
    """Both models on the validation split."""

    grouping: Grouping = Grouping()
    flip: bool = True
    instance_scales: Scales = Field((1.0,), description="as that of export_mrcnn")
    min_area_px: Count = 16
    iou_thresholds: Annotated[tuple[Fraction, ...], AfterValidator(_with_half)] = (0.25, 0.5, 0.7, 0.75)
    confidence: Literal["product", "center", "release"] = Field(
        "product", description="score: centre value times class probability, or the former alone"
    )
    precision: Precision = "bf16"
    sheet_images: Count = 12


class Params(Section):
    """The whole of `params.yaml`."""

    dataset: Dataset
    prepare: Prepare
    train_pam: TrainPam
    extract_cues: ExtractCues
    import_wsss: ImportWsss
    make_pseudo_labels: MakePseudoLabels
    train_bestie: TrainBestie
    export_mrcnn: ExportMrcnn
    train_mrcnn: TrainMrcnn
    evaluate: Evaluate
