"""The models of the authors' release: the names and shapes of their weights, and their output, only with torch."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

Tensors = dict[str, Tensor]

#: (index in `features`, inputs, outputs, second name of the layer); 4, 9, 16 halve the size, 23 keeps it.
VGG = (
    (0, 3, 64, "layer1_conv1"),
    (2, 64, 64, "layer1_conv2"),
    (5, 64, 128, "layer2_conv1"),
    (7, 128, 128, "layer2_conv2"),
    (10, 128, 256, "layer3_conv1"),
    (12, 256, 256, "layer3_conv2"),
    (14, 256, 256, "layer3_conv3"),
    (17, 256, 512, "layer4_conv1"),
    (19, 512, 512, "layer4_conv2"),
    (21, 512, 512, "layer4_conv3"),
    (24, 512, 512, "layer5_conv1"),
    (26, 512, 512, "layer5_conv2"),
    (28, 512, 512, "layer5_conv3"),
)
POOLED_BEFORE, KEPT_BEFORE = (5, 10, 17), 24
HRNET_MODULES = {2: 1, 3: 4, 4: 3}  # stage -> modules; a stage has as many branches as its number


def random_classifier(num_classes: int = 20) -> Tensors:
    """Return a state dict of the released classifier, with random weights."""
    tensors = {}
    for index, inputs, outputs, alias in VGG:
        weight, bias = _filters(outputs, inputs, 3), torch.randn(outputs) * 0.1
        for name in (f"features.{index}", alias):
            tensors |= {f"{name}.weight": weight, f"{name}.bias": bias}
    for number, (outputs, kernel) in enumerate([(512, 3), (512, 3), (512, 3), (num_classes, 1)], start=1):
        tensors[f"extra_conv{number}.weight"] = _filters(outputs, 512, kernel)
        tensors[f"extra_conv{number}.bias"] = torch.randn(outputs) * 0.1
    return tensors


def classifier_maps(t: Tensors, images: Tensor, alpha: float) -> Tensor:
    """Return activation maps of the released classifier, with peak attention after each of three added convolutions."""
    x = images
    for index, *_ in VGG:
        if index in POOLED_BEFORE:
            x = F.max_pool2d(x, 2)
        if index == KEPT_BEFORE:
            x = F.max_pool2d(x, 3, stride=1, padding=1)
        reach = 2 if index >= KEPT_BEFORE else 1
        name = f"features.{index}"
        x = F.conv2d(x, t[f"{name}.weight"], t[f"{name}.bias"], padding=reach, dilation=reach).relu()
    for number in (1, 2, 3):
        x = F.conv2d(x, t[f"extra_conv{number}.weight"], t[f"extra_conv{number}.bias"], padding=1).relu()
        x = torch.where(x < x.amax(dim=(2, 3), keepdim=True) * alpha, torch.zeros(()), x)
    return F.conv2d(x, t["extra_conv4.weight"], t["extra_conv4.bias"])


def random_network(width: int = 48, num_classes: int = 20) -> Tensors:
    """Return a random state dict of the released network: HRNet, `width` channels wide at its finest, and heads."""
    tensors: Tensors = {}
    for name, outputs, inputs, kernel in _convolutions(width):
        tensors[f"{name[0]}.weight"] = _filters(outputs, inputs, kernel)
        tensors |= {
            f"{name[1]}.weight": torch.rand(outputs) + 0.5,
            f"{name[1]}.bias": torch.randn(outputs) * 0.1,
            f"{name[1]}.running_mean": torch.randn(outputs) * 0.1,
            f"{name[1]}.running_var": torch.rand(outputs) + 0.5,
            f"{name[1]}.num_batches_tracked": torch.tensor(7),
        }
    for head, outputs in (("seg", num_classes + 1), ("center", num_classes), ("offset", 2)):
        for layer, shape in ((0, (256, width, 3)), (2, (outputs, 256, 1))):
            tensors[f"{head}.{layer}.weight"] = _filters(*shape)
            tensors[f"{head}.{layer}.bias"] = torch.randn(shape[0]) * 0.1
    return tensors


def network_outputs(t: Tensors, images: Tensor) -> dict[str, Tensor]:
    """Return the maps of the released network: "seg", "center" and "offset" at the size of the images."""
    x = _unit(t, "conv1", "bn1", images, stride=2)
    x = _unit(t, "conv2", "bn2", x, stride=2)
    for block in range(4):
        name = f"layer1.{block}"
        side = _unit(t, f"{name}.downsample.0", f"{name}.downsample.1", x, relu=False) if block == 0 else x
        y = _unit(t, f"{name}.conv1", f"{name}.bn1", x)
        y = _unit(t, f"{name}.conv2", f"{name}.bn2", y)
        x = (_unit(t, f"{name}.conv3", f"{name}.bn3", y, relu=False) + side).relu()
    maps = [x]
    for stage, modules in HRNET_MODULES.items():
        maps = _transition(t, stage - 1, maps)
        for module in range(modules):
            finest_alone = (stage, module) == (4, HRNET_MODULES[4] - 1)
            maps = _module(t, f"stage{stage}.{module}", maps, outputs=1 if finest_alone else stage)
    found = {}
    for head in ("seg", "center", "offset"):
        y = F.conv2d(maps[0], t[f"{head}.0.weight"], t[f"{head}.0.bias"], padding=1).relu()
        y = F.conv2d(y, t[f"{head}.2.weight"], t[f"{head}.2.bias"])
        found[head] = F.interpolate(y, size=images.shape[-2:], mode="bilinear", align_corners=False)
    return found


def _transition(t: Tensors, number: int, maps: list[Tensor]) -> list[Tensor]:
    name = f"transition{number}"
    if number == 1:
        finest = _unit(t, f"{name}.0.0", f"{name}.0.1", maps[0])
        return [finest, _unit(t, f"{name}.1.0.0", f"{name}.1.0.1", maps[0], stride=2)]
    new = f"{name}.{number}.0"
    return [*maps, _unit(t, f"{new}.0", f"{new}.1", maps[-1], stride=2)]


def _module(t: Tensors, name: str, maps: list[Tensor], *, outputs: int) -> list[Tensor]:
    done = []
    for branch, x in enumerate(maps):
        for block in range(4):
            inner = f"{name}.branches.{branch}.{block}"
            y = _unit(t, f"{inner}.conv1", f"{inner}.bn1", x)
            x = (_unit(t, f"{inner}.conv2", f"{inner}.bn2", y, relu=False) + x).relu()
        done.append(x)
    fused = []
    for to in range(outputs):
        parts = [_fuse(t, f"{name}.fuse_layers.{to}.{of}", x, of - to) for of, x in enumerate(done)]
        fused.append(torch.stack(parts).sum(0).relu())
    return fused


def _fuse(t: Tensors, name: str, x: Tensor, levels: int) -> Tensor:
    """Return a map upsampled by `levels` resolutions, or downsampled if `levels` is negative."""
    if levels > 0:
        return F.interpolate(_unit(t, f"{name}.0", f"{name}.1", x, relu=False), scale_factor=2**levels)
    for step in range(-levels):
        x = _unit(t, f"{name}.{step}.0", f"{name}.{step}.1", x, stride=2, relu=step < -levels - 1)
    return x


def _unit(t: Tensors, conv: str, norm: str, x: Tensor, *, stride: int = 1, relu: bool = True) -> Tensor:
    weight = t[f"{conv}.weight"]
    x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
    values = (t[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    x = F.batch_norm(x, *values)
    return x.relu() if relu else x


def _convolutions(width: int) -> Iterator[tuple[tuple[str, str], int, int, int]]:
    """Yield (convolution, its normalization), outputs, inputs and kernel size of every layer of HRNet."""
    yield ("conv1", "bn1"), 64, 3, 3
    yield ("conv2", "bn2"), 64, 64, 3
    for block in range(4):
        name, inputs = f"layer1.{block}", 64 if block == 0 else 256
        for number, shape in enumerate([(64, inputs, 1), (64, 64, 3), (256, 64, 1)], start=1):
            yield (f"{name}.conv{number}", f"{name}.bn{number}"), *shape
        if block == 0:
            yield (f"{name}.downsample.0", f"{name}.downsample.1"), 256, 64, 1
    yield ("transition1.0.0", "transition1.0.1"), width, 256, 3
    yield ("transition1.1.0.0", "transition1.1.0.1"), 2 * width, 256, 3
    for number in (2, 3):
        name = f"transition{number}.{number}.0"
        yield (f"{name}.0", f"{name}.1"), width * 2**number, width * 2 ** (number - 1), 3
    for stage, modules in HRNET_MODULES.items():
        for module in range(modules):
            outputs = 1 if (stage, module) == (4, modules - 1) else stage
            yield from _module_convolutions(f"stage{stage}.{module}", width, stage, outputs)


def _module_convolutions(
    name: str, width: int, branches: int, outputs: int
) -> Iterator[tuple[tuple[str, str], int, int, int]]:
    channels = [width * 2**branch for branch in range(branches)]
    for branch, count in enumerate(channels):
        for block in range(4):
            for number in (1, 2):
                inner = f"{name}.branches.{branch}.{block}"
                yield (f"{inner}.conv{number}", f"{inner}.bn{number}"), count, count, 3
    for to in range(outputs):
        for of in range(branches):
            fuse = f"{name}.fuse_layers.{to}.{of}"
            if of > to:
                yield (f"{fuse}.0", f"{fuse}.1"), channels[to], channels[of], 1
            for step in range(to - of):
                last = channels[to] if step == to - of - 1 else channels[of]
                yield (f"{fuse}.{step}.0", f"{fuse}.{step}.1"), last, channels[of], 3


def _filters(outputs: int, inputs: int, kernel: int) -> Tensor:
    return torch.randn(outputs, inputs, kernel, kernel) * (2 / (inputs * kernel**2)) ** 0.5
