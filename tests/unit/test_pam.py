"""The classifier and the peak attention module (Section 3.3)."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bestie.method.backbones import create_backbone
from bestie.method.pam import Classifier, PeakAttention, normalize_activation, peak_attention


def make_classifier(*layers: int) -> Classifier:
    torch.manual_seed(0)
    return Classifier(create_backbone("test_resnet"), num_classes=3, width=8, attention_layers=layers).eval()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 1))
def test_what_remains_lies_above_the_boundary(seed: int, alpha: float):
    features = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(seed))
    found = peak_attention(features, alpha)
    maxima = features.relu().amax(dim=(2, 3), keepdim=True)
    assert (found[found > 0] >= (maxima * alpha).expand_as(found)[found > 0]).all()
    assert torch.equal(found.amax(dim=(2, 3), keepdim=True), maxima)
    kept = found > 0
    assert torch.equal(found[kept], features[kept])


def test_alpha_zero_is_a_relu_and_alpha_one_keeps_the_maxima():
    features = torch.randn(1, 4, 6, 6)
    assert torch.equal(peak_attention(features, 0), features.relu())
    assert ((peak_attention(features, 1) > 0).sum(dim=(2, 3)) == 1).all()


@pytest.mark.parametrize("alpha", [-0.1, 1.1])
def test_alpha_outside_of_its_range_is_refused(alpha: float):
    with pytest.raises(ValueError, match="alpha"):
        peak_attention(torch.zeros(1, 1, 2, 2), alpha)


def test_logits_are_means_of_the_activation_maps():
    classifier = make_classifier(6)
    images = torch.randn(2, 3, 64, 64)
    maps = classifier.activation_maps(images)
    assert maps.shape == (2, 3, 4, 4)
    torch.testing.assert_close(classifier(images), maps.mean(dim=(2, 3)))


@pytest.mark.parametrize("layers", [(), (6,), (4, 5, 6)])
def test_attention_sits_on_the_chosen_layers(layers: tuple[int, ...]):
    classifier = make_classifier(*layers)
    assert sum(isinstance(module, PeakAttention) for module in classifier.modules()) == len(layers)


def test_attention_can_be_switched_off():
    classifier, plain = make_classifier(5, 6), make_classifier()
    plain.load_state_dict(classifier.state_dict())
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert not torch.equal(classifier(images), plain(images))
        classifier.attend(False)
        assert torch.equal(classifier(images), plain(images))
        classifier.attend(True)
        assert not torch.equal(classifier(images), plain(images))


def test_without_normalisation_convolutions_have_a_bias():
    classifier = Classifier(create_backbone("test_resnet"), num_classes=2, width=4, normalized=False)
    assert not any("added" in n and "running_mean" in n for n in classifier.state_dict())
    assert classifier.added[0][0].bias is not None


def test_normalised_activations_end_at_one_and_absent_classes_at_zero():
    maps = torch.randn(2, 3, 8, 8) * 5 + 1
    labels = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    found = normalize_activation(maps, labels)
    assert found.min() >= 0
    torch.testing.assert_close(found.amax(dim=(2, 3)), labels, atol=1e-4, rtol=0)
    assert normalize_activation(-maps.abs(), labels).abs().max() == 0


def test_the_activation_maps_of_bf16_are_not_rounded_to_it():
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        maps = make_classifier(6).activation_maps(images)
    assert maps.dtype == torch.float32
    assert (maps != maps.bfloat16().float()).float().mean() > 0.5
