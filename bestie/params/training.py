"""What the sections of the three trainings share: optimizer, backbone, augmentation."""

from typing import Annotated, Literal

from pydantic import Field

from bestie.params.section import Count, CountOrZero, Fraction, NotNegative, Positive, Precision, Section, Seed, option

Color = tuple[Fraction, Fraction, Fraction]
_Spread = Annotated[float, Field(gt=0, le=1)]
Spread = tuple[_Spread, _Spread, _Spread]


class Optimizer(Section):
    """How weights move. `warmup_fraction` and the schedule are in units of the whole training."""

    name: Literal["sgd", "adam", "adamw"] = option("adamw", "optimizer of torch")
    learning_rate: Positive = option(1e-3, "largest learning rate")
    backbone_factor: NotNegative = option(1.0, "learning rate of the backbone, relative to `learning_rate`")
    weight_decay: NotNegative = option(1e-4, "weight decay")
    momentum: Fraction = option(0.9, "momentum of SGD")
    schedule: Literal["polynomial", "cosine", "steps", "constant"] = option(
        "polynomial", "how the learning rate falls", "paper, Section 4.2"
    )
    steps: tuple[Fraction, ...] = option((), "where the schedule `steps` divides the rate by ten")
    warmup_fraction: Fraction = option(0.0, "part of the training in which the rate rises from 0")


class Backbone(Section):
    """A feature extractor of `timm`, and where its first weights come from.

    `name` may carry the tag of a weight file of `timm`, as in `resnet50.tv_in1k`, which `weights: download` fetches.
    """

    name: str = option("resnet10t", "model of timm that gives feature maps")
    weights: str = option(
        "random", "random, download, package (an installed one, see the guide), previous (the stage before), or a file"
    )
    sha256: str | None = option(None, "refuse a weight file with another hash")
    mean: Color | None = option(
        None, "mean of red, green and blue, 0..1, that images are normalized by; null: that of the model in timm"
    )
    std: Spread | None = option(None, "standard deviation of the same; null: that of the model in timm")
    output_stride: Literal[8, 16, 32] = option(16, "stride of the last feature map in px")
    stages: Count | None = option(None, "keep the first so many feature maps of timm; null: all")
    width_factor: Positive = option(1.0, "channels of a ResNet times this; other models accept 1 only")
    trainable: bool = option(True, "false keeps its weights, which suits little data and few minutes")
    frozen_stages: CountOrZero = option(0, "the first so many stages keep their weights")


class Training(Section):
    """What every training stage has."""

    seed: Seed = option(0, "seed of weights, order and augmentation")
    epochs: Count = option(..., "passes over the training images")
    batch_size: Count = option(..., "images in a step, over all processes")
    precision: Precision = option("bf16", "bf16 with fp32 weights where the device has it, or fp32")
    optimizer: Optimizer = option(Optimizer(), "how weights move")
    weight_average: Annotated[float, Field(ge=0, lt=1)] = option(
        0.0, "the model is a running mean of its weights, of which a step keeps this part; 0: the last weights"
    )
    backbone: Backbone = option(Backbone(), "feature extractor and its first weights")


class Augmentation(Section):
    """Random crop of `crop_px` after scaling by a factor drawn from `scale`, flip, color jitter."""

    crop_px: Count = option(128, "side of the crop in px")
    scale: tuple[Positive, Positive] = option((0.8, 1.25), "smallest and largest factor")
    flip: bool = option(True, "mirror half of the images")
    jitter: Fraction = option(0.3, "strength of the color jitter")
