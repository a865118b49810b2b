"""Backbones: one interface over `timm`."""

import pytest
import torch
from torch import nn

from bestie.errors import InputError
from bestie.method.backbones import IMAGENET, DilatedDepthwise, create_backbone, normalization_of
from bestie.params.training import Backbone
from bestie.training.initial import build_backbone


@pytest.mark.parametrize("name", ["test_resnet", "resnet10t", "mobilenetv1_100", "mobilenetv3_small_050"])
@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_channels_and_strides_are_those_of_the_maps(name: str, output_stride: int):
    backbone = create_backbone(name, output_stride=output_stride).eval()
    features = backbone(torch.zeros(1, 3, 64, 96))
    assert [f.shape[1] for f in features] == backbone.channels
    assert [(64 // f.shape[2], 96 // f.shape[3]) for f in features] == [(s, s) for s in backbone.strides]
    assert backbone.strides == sorted(set(backbone.strides))
    assert (backbone.strides[0], backbone.strides[-1]) == (4, output_stride)


def test_a_dilated_stage_stands_for_the_stride_that_it_shares():
    dilated = create_backbone("test_resnet", output_stride=8)
    assert dilated.channels[-1] == create_backbone("test_resnet", output_stride=32).channels[-1]


def test_a_dilated_depthwise_layer_has_the_gradient_of_float32():
    backbone = create_backbone("mobilenetv1_100", output_stride=8).to(memory_format=torch.channels_last)
    layers = [each for each in backbone.modules() if isinstance(each, nn.Conv2d) and each.dilation != (1, 1)]
    assert {type(each) for each in layers if each.groups > 1} == {DilatedDepthwise}
    layer = next(each for each in layers if each.groups > 1)
    maps = torch.randn(2, layer.in_channels, 40, 40).contiguous(memory_format=torch.channels_last)
    above = torch.randn(2, layer.out_channels, 40, 40).contiguous(memory_format=torch.channels_last)

    def gradient(*, bf16: bool) -> torch.Tensor:
        torch.full((4, *maps.shape), 1e9)  # what a kernel finds in memory that it does not write
        layer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            answer = layer(maps)
        answer.backward(above.to(answer.dtype))
        return layer.weight.grad.clone()

    exact = gradient(bf16=False)
    for _ in range(5):
        assert (gradient(bf16=True) - exact).abs().max() <= 0.03 * exact.abs().max()


def test_the_last_stages_can_be_left_out():
    whole, part = create_backbone("resnet10t"), create_backbone("resnet10t", stages=4)
    assert part.strides == whole.strides == [4, 8, 16]
    assert sum(p.numel() for p in part.parameters()) < sum(p.numel() for p in whole.parameters()) / 2


def test_a_resnet_can_be_narrower_and_no_other_model():
    whole, half = create_backbone("resnet10t"), create_backbone("resnet10t", width_factor=0.5)
    assert half.strides == whole.strides
    assert half.channels == [channels // 2 for channels in whole.channels]
    assert half(torch.rand(1, 3, 64, 64))[0].shape == (1, 32, 16, 16)
    with pytest.raises(InputError, match=r"width_factor 0.5 needs a ResNet, and 'mobilenetv1_100' is none"):
        create_backbone("mobilenetv1_100", width_factor=0.5)
    with pytest.raises(InputError, match="'resnetv2_50' is none"):  # of the name, but another family
        create_backbone("resnetv2_50", width_factor=0.5)


def test_an_unknown_name_is_answered_with_similar_ones():
    with pytest.raises(InputError, match=r"backbone 'resnet10x' is not a model of timm; did you mean resnet10\d?t?"):
        create_backbone("resnet10x")
    with pytest.raises(InputError, match=r"timm.list_models\(\)"):
        create_backbone("no such model")


def test_a_frozen_backbone_keeps_weights_and_statistics():
    backbone, _ = build_backbone(Backbone(name="test_resnet", trainable=False))
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    backbone.train()
    backbone(torch.rand(2, 3, 64, 64))
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def test_images_are_normalised_as_imagenet_models_expect():
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1) * 255
    backbone = create_backbone("resnet10t").eval()
    images = mean.round().to(torch.uint8).expand(1, 3, 32, 32)
    for given, normalized in zip(backbone(images), backbone.features(torch.zeros(1, 3, 32, 32)), strict=True):
        torch.testing.assert_close(given, normalized, atol=0.05, rtol=0.05)
    white = (1 - torch.tensor(IMAGENET.mean)) / torch.tensor(IMAGENET.std)
    for given, normalized in zip(
        backbone(torch.full((1, 3, 32, 32), 255, dtype=torch.uint8)),
        backbone.features(white.view(1, 3, 1, 1).expand(1, 3, 32, 32)),
        strict=True,
    ):
        torch.testing.assert_close(given, normalized)


def test_each_model_has_the_normalization_that_it_was_trained_with():
    assert normalization_of("resnet50") == normalization_of("vgg16.tv_in1k") == IMAGENET
    assert normalization_of("tf_efficientnet_lite2") == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert normalization_of("a_model_without_weights") == IMAGENET


def test_the_first_stages_keep_their_weights_and_all_keep_their_batch_statistics():
    backbone = create_backbone("mobilenetv1_100").freeze(3).train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], lr=0.1)
    sum(each.square().mean() for each in backbone(torch.randn(2, 3, 64, 64))).backward()
    optimizer.step()
    changed = {name for name, value in backbone.state_dict().items() if not torch.equal(value, before[name])}
    assert {".".join(name.split(".")[:3]) for name in changed} == {"model.blocks.3", "model.blocks.4"}
    assert not any("running" in name for name in changed)


@pytest.mark.parametrize(("name", "stages"), [("resnet10t", 6), ("hrnet_w18_small", 2)])
def test_stages_that_cannot_be_frozen_are_refused(name, stages):
    with pytest.raises(InputError, match=f"frozen_stages {stages} does not fit"):
        create_backbone(name, output_stride=32).freeze(stages)


def test_vgg_at_stride_8_keeps_the_size_behind_its_third_pooling_and_dilates_what_follows():
    plain, dilated = create_backbone("vgg16", output_stride=16), create_backbone("vgg16", output_stride=8)
    assert (plain.strides, dilated.strides) == ([4, 8, 16], [4, 8])
    assert dilated.channels == [256, 512]
    assert dilated(torch.rand(1, 3, 64, 96))[-1].shape == (1, 512, 8, 12)
    layers = dict(dilated.model.named_children())
    assert [layers[f"features_{n}"].dilation for n in (21, 24, 26, 28)] == [(1, 1), (2, 2), (2, 2), (2, 2)]
    pooling = layers["features_23"]
    assert (pooling.kernel_size, pooling.stride, pooling.padding) == (3, 1, 1)


def test_hrnet_keeps_all_resolutions_whatever_the_stride_or_its_finest_alone():
    for output_stride in (8, 16, 32):
        backbone = create_backbone("hrnet_w18_small", output_stride=output_stride)
        assert backbone.strides == [4, 8, 16, 32]
        assert backbone.channels == [16, 32, 64, 128]
    finest = create_backbone("hrnet_w18_small", stages=2)
    assert (finest.strides, finest.channels) == ([4], [16])
    finest(torch.rand(1, 3, 64, 64))[0].sum().backward()
    assert [name for name, p in finest.named_parameters() if p.grad is None] == []


def test_the_tag_of_a_weight_file_makes_no_other_network():
    tagged, plain = create_backbone("resnet10t.c3_in1k"), create_backbone("resnet10t")
    assert tagged.state_dict().keys() == plain.state_dict().keys()
