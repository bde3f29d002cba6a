"""FastFCN: its heads, its strides, and what training reads."""

import pytest
import torch
from torch.nn import functional as F

from vitrail.errors import ConfigError
from vitrail.losses import SemanticTargets
from vitrail.models.base import RawOutput
from vitrail.models.fastfcn import FastFCN
from vitrail.models.presence import presence_loss
from vitrail.models.registry import build

HEADS = ["fcn", "psp", "aspp", "encnet"]


def fastfcn(**arguments: object) -> FastFCN:
    model = build("fastfcn", {"classes": 3, "encoder": "resnet18", "jpu_channels": 16} | arguments)
    assert isinstance(model, FastFCN)
    return model


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("upsampling", ["jpu", "dilated"])
def test_every_head_sees_stride_8(head: str, upsampling: str) -> None:
    """arXiv:1903.11816, figure 2: both networks bring features at an eighth to the same head."""
    model = fastfcn(head=head, upsampling=upsampling).eval()
    seen: list[torch.Size] = []
    model.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    with torch.inference_mode():
        model(torch.randn(1, 3, 64, 96))
    assert seen == [(1, 64 if upsampling == "jpu" else 512, 8, 12)]
    deepest = model.encoder.strides[-1]
    assert deepest == (32 if upsampling == "jpu" else 8)


def test_a_dilated_network_has_no_jpu_and_the_same_encoder() -> None:
    jpu, dilated = fastfcn(), fastfcn(upsampling="dilated")
    assert dilated.upsample is None
    count = [sum(p.numel() for p in model.encoder.parameters()) for model in (jpu, dilated)]
    assert count[0] == count[1]


@pytest.mark.parametrize("head", HEADS)
def test_auxiliary_and_presence_are_for_training(head: str) -> None:
    model = fastfcn(head=head)
    images = torch.randn(2, 3, 64, 64)
    raw = model(images)
    assert [logits.shape for logits in raw.auxiliary] == [(2, 3, 64, 64)]
    assert (raw.presence is not None) == (head == "encnet")
    with torch.inference_mode():
        raw = model.eval()(images)
    assert raw.auxiliary == () and raw.presence is None


def test_the_auxiliary_head_reads_stride_16() -> None:
    model, seen = fastfcn(), []
    assert model.auxiliary is not None
    model.auxiliary.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    model(torch.randn(2, 3, 64, 64))
    assert seen == [(2, 256, 4, 4)]
    assert fastfcn(auxiliary=False)(torch.randn(2, 3, 64, 64)).auxiliary == ()


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("upsampling", ["jpu", "dilated"])
def test_a_batch_of_one_trains(head: str, upsampling: str) -> None:
    raw = fastfcn(head=head, upsampling=upsampling)(torch.randn(1, 3, 64, 64))
    raw.logits.sum().backward()
    assert raw.logits.isfinite().all()


def test_terms_and_weights_of_the_loss() -> None:
    """arXiv:1803.08904: 0.2 for the semantic encoding loss; 0.2 for the auxiliary head, as in the
    options of the original code."""
    model = fastfcn()
    logits = torch.randn(2, 3, 8, 8)
    presence = torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.0, -2.0]])
    labels = torch.zeros(2, 8, 8, dtype=torch.int64)
    labels[0, 0, 0], labels[1] = 2, 1
    targets = SemanticTargets(labels, ignore=255)
    terms = model.loss(RawOutput(logits, (logits,), presence), targets)
    truth = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    expected = F.binary_cross_entropy_with_logits(presence, truth)
    torch.testing.assert_close(terms["presence"], 0.2 * expected)
    torch.testing.assert_close(terms["auxiliary_ce"], 0.2 * terms["ce"])
    assert "presence" not in model.loss(RawOutput(logits), targets)


def test_presence_counts_labelled_pixels_and_annotated_classes_only() -> None:
    presence = torch.tensor([[1.0, -2, 3], [0.5, 1, -1], [9, 9, 9]], requires_grad=True)
    labels = torch.full((3, 4, 4), 255)
    labels[0, 0], labels[0, 1], labels[1, 2] = 0, 1, 2  # nothing is known of the third image
    unlabelled = torch.tensor([[False, True, False], [False] * 3, [False] * 3])
    logits = torch.randn(3, 3, 4, 4)
    # Without a background no class's absence is doubtful, and all planes count.
    plain = SemanticTargets(labels, ignore=255)
    truth = torch.tensor([[1.0, 1, 0], [0, 0, 1]])
    expected = F.binary_cross_entropy_with_logits(presence[:2], truth)
    torch.testing.assert_close(presence_loss(presence, logits, plain), expected)
    # With one, class 1 was not annotated in the first image: neither it nor the background counts.
    labels[0, 1] = 0
    targets = SemanticTargets(labels, ignore=255, background=0, unlabelled=unlabelled)
    terms = F.binary_cross_entropy_with_logits(
        presence[:2], torch.tensor([[1.0, 0, 0], [0, 0, 1]]), reduction="none"
    )
    expected = (terms[0, 2] + terms[1].sum()) / 4
    loss = presence_loss(presence, logits, targets)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert presence.grad is not None and not presence.grad[2].any()


def test_presence_of_labels_in_planes() -> None:
    presence, logits = torch.tensor([[1.0, -2]]), torch.randn(1, 2, 2, 2)
    labels = torch.zeros(1, 2, 2, 2)
    labels[0, 1, 0, 0] = 1
    loss = presence_loss(presence, logits, SemanticTargets(labels, ignore=255))
    expected = F.binary_cross_entropy_with_logits(presence, torch.tensor([[0.0, 1]]))
    torch.testing.assert_close(loss, expected)


def test_nothing_labelled_is_no_loss_with_a_graph() -> None:
    presence = torch.randn(1, 2, requires_grad=True)
    nothing = SemanticTargets(torch.full((1, 2, 2), 255), ignore=255)
    loss = presence_loss(presence, torch.randn(1, 2, 2, 2), nothing)
    loss.backward()
    assert loss == 0 and presence.grad is not None and not presence.grad.any()


def test_an_encoder_without_the_strides_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"vgg11 has strides .* needs 8, 16 and 32"):
        fastfcn(encoder="vgg11")
    with pytest.raises(ConfigError, match="head='unet'"):
        fastfcn(head="unet")
