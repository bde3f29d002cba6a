"""Gated-SCNN: two streams, what reaches which, and a boundary that is learnt."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.drawn import discs
from vitrail.errors import ConfigError
from vitrail.image import Image
from vitrail.losses import SemanticTargets, build_loss
from vitrail.losses.dual_task import DualTaskLoss, true_boundary
from vitrail.losses.targets import read_planes
from vitrail.models.base import Frame, RawOutput
from vitrail.models.gated_scnn import GatedSCNN, GatedSCNNArguments
from vitrail.models.registry import build
from vitrail.nn.gated_shape import GatedConv
from vitrail.predict.network import Network, boundaries_at
from vitrail.predict.network_params import NetworkParams
from vitrail.weights.card import Card, Licences, Preprocessing

TERMS = ["ce", "dice", "boundary", "dual_gradient", "dual_agreement"]


def built(**arguments: Any) -> GatedSCNN:
    torch.manual_seed(0)
    small = {"classes": 3, "encoder": "resnet18", "context_channels": 32, "dropout": 0}
    model = build("gated-scnn", small | arguments)
    assert isinstance(model, GatedSCNN)
    return model


def batch(number: int = 4, seed: int = 0) -> tuple[torch.Tensor, SemanticTargets]:
    pairs = discs(number, seed=seed)
    images = torch.from_numpy(np.stack([image for image, _ in pairs])).permute(0, 3, 1, 2)
    labels = torch.from_numpy(np.stack([labels for _, labels in pairs])).long()
    return images / 127.5 - 1, SemanticTargets(labels, 255, 0)


@pytest.mark.parametrize(
    ("size", "training"),
    [((64, 96), True), ((33, 40), True), ((65, 97), False), ((1, 1), False)],
)
def test_a_boundary_comes_in_both_modes_at_the_images_size(
    size: tuple[int, int], training: bool
) -> None:
    model = built().train(training)
    raw = model(torch.randn(2, 3, *size))
    assert raw.boundary is not None and raw.boundary.shape == (2, 1, *size)
    assert raw.boundary.isfinite().all()
    assert raw.of(1).boundary.shape == (1, 1, *size)


def test_the_loss_has_the_recipes_terms_and_those_of_the_boundary() -> None:
    model, (images, targets) = built(), batch()
    raw = model(images)
    terms = model.loss(raw, targets)
    assert list(terms) == TERMS
    assert all(term.isfinite() and term > 0 for name, term in terms.items() if name != TERMS[-1])
    heavier = built(shape_loss={"boundary": 40, "gradient": 0}).loss(raw, targets)
    assert heavier["boundary"].item() == pytest.approx(2 * terms["boundary"].item())
    assert heavier["dual_gradient"] == 0


def test_a_recipes_own_boundary_term_is_added_and_not_lost() -> None:
    model, (images, targets) = built().eval(), batch()
    raw = model(images)
    alone = model.loss(raw, targets)["boundary"]
    model.criterion = build_loss("ce + 5*boundary")
    extra = model.criterion(raw.logits, targets)["boundary"]
    assert extra.abs() > 0.1
    torch.testing.assert_close(model.loss(raw, targets)["boundary"], alone + extra)


def test_weights_and_limits_are_the_papers() -> None:
    """lambda_1, lambda_3 and lambda_4 of arXiv:1907.05740; its lambda_2 = 1 is the
    weight of the recipe's own loss."""
    loss = built().shape_loss
    assert (loss.boundary, loss.gradient, loss.agreement) == (20, 1, 1)
    assert (loss.confident, loss.temperature) == (0.8, 1)


def test_noise_is_for_training_alone() -> None:
    model, (images, targets) = built().eval(), batch()
    raw = model(images)
    one, two = (model.loss(raw, targets)["dual_gradient"] for _ in range(2))
    assert torch.equal(one, two)
    model.train()
    one, two = (model.loss(raw, targets)["dual_gradient"] for _ in range(2))
    assert not torch.equal(one, two)


def test_the_boundarys_loss_teaches_the_shape_stream_and_what_it_reads() -> None:
    """The two streams meet in the fusion only: nothing of it hears of the boundary's own loss."""
    model, (images, targets) = built(), batch()
    model.loss(model(images), targets)["boundary"].backward()
    heard = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert any(name.startswith("encoder.") for name in heard)
    assert {name for name, _ in model.named_parameters() if name.startswith("shape.")} <= heard
    assert not any(name.startswith(("fusion.", "head.")) for name in heard)


def test_the_segmentation_hears_of_the_boundary() -> None:
    model, (images, _) = built().eval(), batch()
    features = model.encoder(images)
    one, two = (
        model.fusion(features[-1], features[model.low], torch.full((4, 1, 64, 64), value))
        for value in (0.0, 1.0)
    )
    assert not torch.allclose(one, two)


def test_gates_lie_between_0_and_1_and_follow_the_deep_features() -> None:
    model, (images, _) = built().eval(), batch()
    seen: list[torch.Tensor] = []
    for module in model.modules():
        if isinstance(module, GatedConv):
            module.register_forward_hook(lambda _, __, output: seen.append(output[1]))
    model(images)
    assert len(seen) == 3
    assert all(gate.min() >= 0 and gate.max() <= 1 and gate.std() > 0 for gate in seen)


def test_the_images_gradient_is_not_learnt_but_read() -> None:
    model, (images, _) = built().eval(), batch(1)
    features = model.encoder(images)
    with torch.no_grad():
        model.with_gradient.weight.copy_(torch.tensor([0.0, 1.0]).view(1, 2, 1, 1))
        model.with_gradient.bias.zero_()
    drawn = model.boundary(features, images)
    assert set(drawn.unique().tolist()) == {0, 1}
    assert torch.equal(drawn, model.boundary(features, images * 0.5))  # exact in floats


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        ({}, (32, 48)),
        ({"shape_stride": 1}, (64, 96)),
        ({"shape_stride": 4}, (16, 24)),
        ({"encoder": "convnext_atto", "output_stride": 16}, (16, 24)),
    ],
)
def test_the_shape_stream_runs_where_it_is_asked_to(
    arguments: dict[str, Any], size: tuple[int, int]
) -> None:
    model = built(**arguments).eval()
    sizes: list[tuple[int, ...]] = []
    model.shape.register_forward_hook(lambda _, __, output: sizes.append(output[0].shape[-2:]))
    model(torch.randn(1, 3, 64, 96))
    assert sizes == [size]


def test_an_encoder_with_too_few_stages_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"needs 3 coarser stages.*Lower shape_stride"):
        built(encoder="convnext_atto", output_stride=16, shape_stride=8)
    with pytest.raises(ConfigError, match=r"shape_loss\.boundary"):
        built(shape_loss={"boundary": -1})


def test_a_boundary_is_learnt_from_drawn_shapes() -> None:
    """Boundary F-measure on shapes it has not seen, within 2 px."""
    model = built(encoder="mobilenetv2_035", shape_channels=(16, 12, 8, 8))
    unseen, truth = batch(6, seed=1)
    lines, _ = true_boundary(read_planes(F.one_hot(truth.labels).movedim(-1, 1).float(), truth))
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    scores = [boundary_f(model, unseen, lines)]
    for step in range(30):
        images, targets = batch(4, seed=10 + step)
        loss = torch.stack(list(model.loss(model(images), targets).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scores.append(boundary_f(model, unseen, lines))
    assert scores[1] > max(0.6, scores[0] + 0.3), scores


def boundary_f(model: GatedSCNN, images: torch.Tensor, lines: torch.Tensor) -> float:
    """F-measure of the pixels drawn with a probability of half, against the true ones."""
    model.train()  # after few steps the running statistics lag behind
    with torch.no_grad():
        found = model(images).boundary > 0
    near = [F.max_pool2d(mask.float(), 5, stride=1, padding=2) > 0 for mask in (found, lines)]
    precision = (found & near[1]).sum() / found.sum().clamp(min=1)
    recall = (lines & near[0]).sum() / lines.sum()
    return float(2 * precision * recall / (precision + recall).clamp(min=1e-6))


def network(model: GatedSCNN, precision: Any) -> Network:
    card = Card(
        name="drawn",
        summary="",
        architecture="gated-scnn",
        arguments={"classes": 3},
        classes=("background", "disc", "square"),
        background=0,
        preprocessing=Preprocessing(image_size=64),
        training_data="",
        training_command="",
        licences=Licences(code="", weights="", training_data=""),
    )
    return Network(
        model, card, device=torch.device("cpu"), precision=precision, params=NetworkParams()
    )


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_prediction_gives_labels_and_boundary_at_the_original_size(precision: str) -> None:
    model = built().eval()
    images, targets = batch()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    for _ in range(4):  # away from logits that are all alike
        loss = torch.stack(list(model.loss(model(images), targets).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    pixels = discs(2, size=64, seed=3)[1][0]
    with torch.inference_mode():
        raw = model(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1)
    result = network(model, precision)(Image(pixels))
    assert (result.labels == raw.logits[0].argmax(0).numpy()).mean() > 0.98
    assert result.boundary is not None and result.boundary.dtype == np.float32
    limit = 1e-4 if precision == "float32" else 0.05
    assert np.abs(result.boundary - raw.boundary[0, 0].sigmoid().numpy()).max() < limit
    wide = network(model, precision)(Image(np.ascontiguousarray(pixels[:37].repeat(3, 0))))
    assert wide.boundary is not None and wide.boundary.shape == wide.labels.shape == (111, 64)


def test_padding_takes_no_part_in_a_boundary() -> None:
    logits = torch.full((2, 1, 8, 8), 30.0)
    logits[0, :, :4, :6] = -30.0
    raw = RawOutput(torch.zeros(2, 3, 8, 8), boundary=logits)
    inside, whole = boundaries_at(raw, [Frame((40, 61), (4, 6)), Frame((8, 8), (8, 8))])
    assert inside is not None and whole is not None
    assert inside.shape == (40, 61) and inside.max() < 1e-6
    assert whole.shape == (8, 8) and whole.min() > 0.99 and whole.max() <= 1
    assert boundaries_at(raw._replace(boundary=None), [Frame((4, 4), (8, 8))] * 2) == [None, None]


def test_the_page_names_every_argument_and_its_example_runs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = Path(__file__).parents[2] / "docs" / "architectures" / "gated-scnn.md"
    page = path.read_text("utf-8")
    for name in (*GatedSCNNArguments.model_fields, *DualTaskLoss.model_fields):
        assert f"`{name}" in page, name
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(example, path.name, "exec"), {})
    assert "[1, 21, 128, 160]" in capsys.readouterr().out


def test_padding_gives_the_boundary_no_edges_and_leaves_the_images_own_alone() -> None:
    model = built().eval()
    with torch.no_grad():  # the boundary is the gradient alone
        model.with_gradient.weight[:] = torch.tensor([0.0, 1.0])[:, None, None]
        model.with_gradient.bias.zero_()
        images = batch(2)[0][..., :-1, :-6]
        alone = model(images).boundary
        padded = model(F.pad(images, (0, 6, 0, 1), value=-3.0)).boundary
    height, width = images.shape[-2:]
    assert alone.any()
    assert torch.equal(padded[..., :height, :width], alone)
    assert not padded[..., height:, :].any() and not padded[..., width:].any()
