"""Feature extractors of `timm` with one interface: a list of feature maps, finest first."""

from typing import Any

import timm
import torch
from jaxtyping import Float
from timm.models import is_model_in_modules
from torch import Tensor, nn

from bestie.errors import InputError

#: Channels of a ResNet's four stages, and of the first layers of those with a deep stem.
RESNET_CHANNELS, RESNET_STEM = (64, 128, 256, 512), 32


class FeatureExtractor(nn.Module):
    """A `timm` backbone that returns the last feature map of every stride.

    Attributes:
        channels: channels of each returned map.
        strides: stride of each returned map in px, ascending.
    """

    def __init__(self, model: nn.Module, *, channels: list[int], strides: list[int], keep: list[int]) -> None:
        super().__init__()
        self.model = model
        self.channels = channels
        self.strides = strides
        self._keep = keep
        self._frozen = False

    def freeze(self, stages: int | None = None) -> "FeatureExtractor":
        """Keep weights from now on, and the batch statistics of all layers.

        Args:
            stages: freeze the layers up to this feature map of `timm`, counted from 1; None freezes all.

        Raises:
            InputError: the model has fewer feature maps, or does not compute them one after another.
        """
        for layer in self.model.modules() if stages is None else self._layers_up_to(stages):
            for parameter in layer.parameters(recurse=False):
                parameter.requires_grad_(False)
        self._frozen = True
        return self.eval()

    def _layers_up_to(self, stages: int) -> list[nn.Module]:
        """Modules in the order of their definition, from the first to the last of a stage."""
        names = [name for name, _ in self.model.named_modules()]
        feature_info: Any = self.model.feature_info
        ends = feature_info.module_name()
        inside = [stages <= len(ends) and f"{name}.".startswith(f"{ends[stages - 1]}.") for name in names]
        if not any(inside):
            raise InputError(f"frozen_stages {stages} does not fit this backbone of {len(ends)} feature maps; use 0")
        last = max(index for index, found in enumerate(inside) if found)
        return list(self.model.modules())[: last + 1]

    def train(self, mode: bool = True) -> "FeatureExtractor":
        """Training or evaluation mode; a frozen backbone, in part or whole, stays in the latter."""
        return super().train(mode and not self._frozen)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """Feature maps `b c h/s w/s`, one for each of `strides`."""
        features = self.model(images)
        return [features[index] for index in self._keep]


def create_backbone(
    name: str, *, output_stride: int = 16, stages: int | None = None, width_factor: float = 1.0
) -> FeatureExtractor:
    """A backbone with random weights by its `timm` name, with or without the tag of a weight file.

    Strides 4 and coarser are returned, up to `output_stride`. Where several maps share a stride (dilated last
    stages), the deepest one stands for it, and the others are dropped. `stages` keeps the first so many feature
    maps of `timm` and leaves out the layers behind them, which small images do not need. `width_factor` makes a
    ResNet wider or narrower: its channels times this.

    HRNet keeps all its resolutions whatever the `output_stride`: 4, 8, 16 and 32 px, without the widening
    modules of its classifier; `stages` 2 gives its finest map alone. VGG is cut before its last pooling; at
    stride 8 its fourth pooling keeps the size, and the layers behind it are dilated (Figure 10).

    Raises:
        InputError: `timm` knows no such model, or it cannot give features at that stride or of another width.
    """
    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        close = ", ".join(timm.list_models(f"{name[:6]}*")[:5]) or "see timm.list_models()"
        raise InputError(f"backbone {name!r} is not a model of timm; did you mean {close}?")
    options = _options(architecture) | _width_options(architecture, width_factor)
    if stages is not None:
        options["out_indices"] = tuple(range(stages))
    model = _create(architecture, output_stride, options)
    strides = model.feature_info.reduction()
    if architecture.startswith("hrnet"):
        output_stride = strides[-1]
        _drop_unread_resolutions(model, len(strides) - 1)
    elif architecture.startswith("vgg") and output_stride == 8:
        strides = _keep_stride_8(model, strides)
    deepest = {stride: index for index, stride in enumerate(strides)}
    keep = [index for stride, index in sorted(deepest.items()) if 4 <= stride <= output_stride]
    channels = model.feature_info.channels()
    return FeatureExtractor(model, channels=[channels[i] for i in keep], strides=[strides[i] for i in keep], keep=keep)


def _options(architecture: str) -> dict[str, Any]:
    """What `timm` must be told of a model to make it a feature extractor as it is wanted here."""
    if architecture.startswith("mobilenetv1"):
        return {"pad_type": "same"}
    if architecture.startswith("hrnet"):
        return {"feature_location": ""}  # without the widening modules of the classifier
    if architecture.startswith("vgg"):
        return {"mlp_ratio": 1 / 4096}  # the classifier is cut off: draw one hidden channel of it instead of 4,096
    return {}


def _width_options(architecture: str, factor: float) -> dict[str, Any]:
    """The channels of a ResNet's stages and stem, times `factor`; nothing for 1, which every model can be."""
    if factor == 1:
        return {}
    if not is_model_in_modules(architecture, ["resnet"]):
        raise InputError(f"width_factor {factor} needs a ResNet, and {architecture!r} is none; use 1")
    return {
        "channels": tuple(max(1, round(channels * factor)) for channels in RESNET_CHANNELS),
        "stem_width": max(4, round(RESNET_STEM * factor)),
    }


def _create(architecture: str, output_stride: int, options: dict[str, Any]) -> Any:
    """The model at `output_stride`, or at its own where it knows no other."""
    try:
        return timm.create_model(architecture, features_only=True, output_stride=output_stride, **options)
    except (TypeError, NotImplementedError, AssertionError, RuntimeError):
        return timm.create_model(architecture, features_only=True, **options)


def _drop_unread_resolutions(model: Any, count: int) -> None:
    """Leave out the last fusions of HRNet that lead to coarser maps than the first `count`."""
    last = model.stage4[-1]
    last.fuse_layers = last.fuse_layers[:count]


def _keep_stride_8(model: nn.Module, strides: list[int]) -> list[int]:
    """Let the pooling between VGG's strides 8 and 16 keep the size, and dilate what follows; returns the strides."""
    stride = 1
    for name, module in model.named_children():
        if isinstance(module, nn.MaxPool2d):
            stride *= 2
            if stride == 16:
                model.add_module(name, nn.MaxPool2d(3, stride=1, padding=1))
            elif stride > 16:
                model.add_module(name, nn.Identity())
        elif isinstance(module, nn.Conv2d) and stride == 16:
            module.dilation = module.padding = (2, 2)
    return [min(each, 8) for each in strides]


IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class PeakHead(nn.Conv2d):
    """The last layer of what has peaks: a pointwise convolution in float32, also under autocast.

    bf16 values are 1/256 apart between 0.5 and 1: neighbours at a peak would often be equal, and both be maxima.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1)

    def forward(self, features: Float[Tensor, "b k h w"]) -> Float[Tensor, "b n h w"]:
        """Any precision in, float32 out."""
        with torch.autocast(features.device.type, enabled=False):
            return super().forward(features.float())


def normalize(images: Tensor) -> Float[Tensor, "b 3 h w"]:
    """uint8 RGB `b 3 h w` in 0..255 to what ImageNet backbones expect."""
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(1, 3, 1, 1) * 255
    std = torch.tensor(IMAGENET_STD, device=images.device).view(1, 3, 1, 1) * 255
    return (images.float() - mean) / std
