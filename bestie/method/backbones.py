"""Backbones from `timm` behind one interface: images in, a list of feature maps out, finest first.

The network of the paper has HRNet-W48 (Section 4.2) or ResNet-50 (appendix), its classifier VGG-16 (Figure 10).
"""

from typing import Any, NamedTuple

import timm
import torch
from jaxtyping import Float, Shaped
from timm.models import is_model_in_modules
from torch import Tensor, nn

from bestie.errors import InputError

#: Channels of a ResNet's four stages, and of the first layers of a ResNet with a deep stem.
RESNET_CHANNELS, RESNET_STEM = (64, 128, 256, 512), 32


class Normalization(NamedTuple):
    """Mean and standard deviation of the channels red, green and blue of the images a model was trained on, in 0..1."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class FeatureExtractor(nn.Module):
    """A `timm` backbone that normalizes images and returns the last feature map of each stride.

    Attributes:
        channels: number of channels of each returned map.
        strides: stride of each returned map in px, ascending.
        normalization: how images are normalized, see `Normalization`.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: nn.Module,
        *,
        channels: list[int],
        strides: list[int],
        keep: list[int],
        normalization: Normalization = IMAGENET,
    ) -> None:
        super().__init__()
        self.model = model
        _replace_dilated_depthwise(model)
        self.channels = channels
        self.strides = strides
        self._keep = keep
        self._frozen = False
        self.normalize_by(normalization)

    def normalize_by(self, normalization: Normalization) -> None:
        """Normalize images in this way from now on; the values are not part of the `state_dict`."""
        self.normalization = normalization
        for name, values in normalization._asdict().items():
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1) * 255, persistent=False)

    def freeze(self, stages: int | None = None) -> "FeatureExtractor":
        """Freeze the weights of some or all layers, and the batch statistics of all layers, from now on.

        Args:
            stages: freeze the layers up to this feature map of `timm`, counted from 1; None freezes all layers.

        Raises:
            InputError: the model has fewer feature maps, or does not compute them one after another.
        """
        for layer in self.model.modules() if stages is None else self._layers_up_to(stages):
            for parameter in layer.parameters(recurse=False):
                parameter.requires_grad_(False)
        self._frozen = True
        return self.eval()

    def _layers_up_to(self, stages: int) -> list[nn.Module]:
        """Return the modules in the order of their definition, up to the last one of a stage."""
        names = [name for name, _ in self.model.named_modules()]
        feature_info: Any = self.model.feature_info
        ends = feature_info.module_name()
        inside = [stages <= len(ends) and f"{name}.".startswith(f"{ends[stages - 1]}.") for name in names]
        if not any(inside):
            raise InputError(f"frozen_stages {stages} does not fit this backbone of {len(ends)} feature maps; use 0")
        last = max(index for index, found in enumerate(inside) if found)
        return list(self.model.modules())[: last + 1]

    def train(self, mode: bool = True) -> "FeatureExtractor":
        """Switch to training or evaluation mode; a backbone that is frozen, even in part, stays in evaluation mode."""
        return super().train(mode and not self._frozen)

    def forward(self, images: Shaped[Tensor, "b 3 h w"]) -> list[Tensor]:
        """Return feature maps of shape `b c h/s w/s`, one for each stride s of `strides`.

        Args:
            images: RGB, 0..255, of any dtype.
        """
        normalized = (images.float() - self.mean) / self.std
        return self.features(normalized.contiguous(memory_format=torch.channels_last))

    def features(self, images: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """Return the feature maps of images that are normalized already."""
        features = self.model(images)
        return [features[index] for index in self._keep]


def create_backbone(
    name: str, *, output_stride: int = 16, stages: int | None = None, width_factor: float = 1.0
) -> FeatureExtractor:
    """Create a backbone with random weights by its `timm` name.

    HRNet always keeps all its resolutions, strides 4, 8, 16 and 32, without the modules that widen them for its
    classifier; with `stages` 2 it returns only its finest map. VGG ends before its last pooling layer; at stride 8
    its fourth pooling layer keeps the size, and the layers after it are dilated (Figure 10).

    Args:
        name: the model's name, with or without the tag of a weight file.
        output_stride: the coarsest stride in px. Maps from stride 4 to this one are returned; if several maps have
            the same stride (dilated last stages), only the deepest of them.
        stages: build only as many of the first feature maps of `timm`, without the layers after them, which small
            images do not need; None builds all.
        width_factor: multiplies the number of channels; anything but 1 needs a ResNet.

    Raises:
        InputError: `timm` has no such model, or the model cannot have another width.
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
    return FeatureExtractor(
        model,
        channels=[channels[i] for i in keep],
        strides=[strides[i] for i in keep],
        keep=keep,
        normalization=normalization_of(name),
    )


def normalization_of(name: str) -> Normalization:
    """Return how the images were normalized that `timm` trained a model on, by its name with or without a tag.

    ImageNet's mean and deviation are the answer for a model of which `timm` has no weights.
    """
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError:
        config = None
    return IMAGENET if config is None else Normalization(tuple(config.mean), tuple(config.std))


def _options(architecture: str) -> dict[str, Any]:
    """Return the options that make `timm` build a model as the feature extractor needed here."""
    if architecture.startswith("mobilenetv1"):
        return {"pad_type": "same"}
    if architecture.startswith("hrnet"):
        return {"feature_location": ""}  # without the widening modules of the classifier
    if architecture.startswith("vgg"):
        return {"mlp_ratio": 1 / 4096}  # the classifier is cut off: give it one hidden channel instead of 4,096
    return {}


def _width_options(architecture: str, factor: float) -> dict[str, Any]:
    """Return the channels of a ResNet's stages and stem times `factor`; nothing for 1, which suits every model."""
    if factor == 1:
        return {}
    if not is_model_in_modules(architecture, ["resnet"]):
        raise InputError(f"width_factor {factor} needs a ResNet, and {architecture!r} is none; use 1")
    return {
        "channels": tuple(max(1, round(channels * factor)) for channels in RESNET_CHANNELS),
        "stem_width": max(4, round(RESNET_STEM * factor)),
    }


def _create(architecture: str, output_stride: int, options: dict[str, Any]) -> Any:
    """Create the model at `output_stride`, or at its own stride if it supports no other."""
    try:
        return timm.create_model(architecture, features_only=True, output_stride=output_stride, **options)
    except (TypeError, NotImplementedError, AssertionError, RuntimeError):
        return timm.create_model(architecture, features_only=True, **options)


def _drop_unread_resolutions(model: Any, count: int) -> None:
    """Remove from HRNet's last stage the fusion layers of all maps after the first `count`, which nothing reads."""
    last = model.stage4[-1]
    last.fuse_layers = last.fuse_layers[:count]


def _replace_dilated_depthwise(model: nn.Module) -> None:
    """Put a `DilatedDepthwise` with the same weights in the place of each depthwise convolution with gaps."""
    same = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
    for name, layer in list(model.named_modules()):
        if type(layer) is not nn.Conv2d or layer.groups == 1 or layer.dilation == (1, 1):
            continue
        sizes = {size: getattr(layer, size) for size in same}
        replacement = DilatedDepthwise(**sizes, bias=layer.bias is not None)
        replacement.load_state_dict(layer.state_dict())
        model.set_submodule(name, replacement)


def _keep_stride_8(model: nn.Module, strides: list[int]) -> list[int]:
    """Make VGG's fourth pooling layer keep the size, dilate the layers after it, and return the new strides."""
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


class DilatedDepthwise(nn.Conv2d):
    """A depthwise convolution with gaps, which on a CPU learns in float32, even under autocast.

    In bf16 and channels-last order, oneDNN 3.12 reads memory that nobody wrote when it computes the gradient of the
    weights of such a layer on maps of 32 px and more: the values are wrong, at times infinite.
    """

    def forward(self, features: Float[Tensor, "b k h w"]) -> Float[Tensor, "b n i j"]:
        """Convolve features of any precision, and return that precision."""
        if features.device.type != "cpu" or not self.weight.requires_grad:
            return super().forward(features)
        with torch.autocast("cpu", enabled=False):
            return super().forward(features.float()).to(features.dtype)


class PeakHead(nn.Conv2d):
    """The last layer of maps that have peaks: a pointwise convolution in float32, even under autocast.

    Between 0.5 and 1, bf16 values are 1/256 apart: neighbors at a peak would often be equal, and each a maximum.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1)

    def forward(self, features: Float[Tensor, "b k h w"]) -> Float[Tensor, "b n h w"]:
        """Convolve features of any precision in float32."""
        with torch.autocast(features.device.type, enabled=False):
            return super().forward(features.float())
