"""What is found before a training, and what stops it."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.drawn import write_discs
from vitrail.data.formats.index_masks import IndexMasks
from vitrail.data.sample import LabelSpace
from vitrail.errors import DataError
from vitrail.losses import SemanticTargets, build_loss
from vitrail.models.base import RawOutput, SemanticModel
from vitrail.models.registry import build
from vitrail.training.config import make_recipe
from vitrail.training.data import Sources
from vitrail.training.one_batch import fit_one_batch
from vitrail.training.preflight import Preflight, preflight
from vitrail.training.semantic_task import SemanticTask, semantic_terms

SPACE = LabelSpace(("background", "disc", "square"), 0, 255)
LOSS = build_loss("ce + dice")


Terms = Mapping[str, Tensor]


def sources(root: Path) -> dict[str, IndexMasks]:
    return {
        split: IndexMasks(root / split / "images", root / split / "masks", SPACE)
        for split in ("train", "val")
    }


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    arguments = {"encoder": "mobilenetv2_035", "decoder_channels": [16, 16, 16, 8, 8]}
    return build("unet", {**arguments, "classes": 3})


def batch(root: Path) -> tuple[Tensor, SemanticTargets]:
    """Four images of the training split."""
    samples = [sources(root)["train"][index] for index in range(4)]
    images = torch.from_numpy(np.stack([sample.image for sample in samples]))
    labels = torch.from_numpy(np.stack([sample.semantic(SPACE) for sample in samples]))
    return images.permute(0, 3, 1, 2).float() / 255, SemanticTargets(labels.long(), 255, 0)


def task(root: Path, network: nn.Module, loss: str = "ce + dice") -> SemanticTask:
    folders = {
        split: {"images": f"{split}/images", "masks": f"{split}/masks"}
        for split in ("train", "val")
    }
    recipe = make_recipe(
        {
            **{"name": "drawn", "summary": "drawn", "loss": loss},
            "data": {"root": root, "classes": SPACE.classes, **folders},
            "model": {"architecture": "unet"},
            "preprocessing": {"image_size": 64},
            "train": {"epochs": 1, "image_size": 64},
        }
    )
    assert isinstance(network, SemanticModel)
    return SemanticTask(recipe, Sources(*sources(root).values()), network)


def flown(root: Path, network: nn.Module, loss: str = "ce + dice", **more) -> Preflight:
    own = task(root, network, loss)
    return preflight(sources(root), network, batch(root), own, root=root, **more)


def test_a_sound_training_passes(tmp_path: Path, network: nn.Module) -> None:
    root = write_discs(tmp_path)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    report = flown(root, network, "focal")
    assert report.errors == () and report.remarks == ()
    report.refuse()
    assert report.one_batch.losses[-1] < report.one_batch.losses[0]
    assert report.memory.batch_size == 4 and report.memory.image_size == 64
    for part in (
        "classes in 16 images",
        "suggested loss: ce + dice (no class is rare",
        "the recipe has focal",
        "memory for 4 images of 64 px",
        "one batch: the loss falls",
    ):
        assert part in report.text
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_faulty_data_stop_the_training(tmp_path: Path, network: nn.Module) -> None:
    root = write_discs(tmp_path)
    given = batch(root)
    damaged = root / "train" / "images" / "disc_005.png"
    damaged.write_bytes(damaged.read_bytes()[:200])
    report = preflight(sources(root), network, given, task(root, network), root=root)
    assert any("disc_005.png" in sentence for sentence in report.errors)
    assert "error: train: " in report.text
    with pytest.raises(DataError, match=r"disc_005\.png.*train\.preflight=false"):
        report.refuse()


def test_labels_that_are_no_class_stop_the_training(tmp_path: Path, network: nn.Module) -> None:
    root = write_discs(tmp_path)
    given = batch(root)
    mask = root / "train" / "masks" / "disc_005.png"
    cv2.imwrite(str(mask), np.full((64, 64), 9, np.uint8))
    with pytest.raises(DataError, match=r"disc_005\.png.*9"):
        preflight(sources(root), network, given, task(root, network), root=root)


def test_a_leak_between_splits_is_told(tmp_path: Path, network: nn.Module) -> None:
    root = write_discs(tmp_path)
    for folder in ("images", "masks"):
        original = root / "train" / folder / "disc_005.png"
        (root / "val" / folder / "leak.png").write_bytes(original.read_bytes())
    report = flown(root, network)
    assert any("leak.png" in sentence for sentence in (*report.errors, *report.warnings))


def test_files_beside_the_set_are_of_no_interest(tmp_path: Path, network: nn.Module) -> None:
    root = write_discs(tmp_path)
    cv2.imwrite(str(root / "train" / "more.png"), np.zeros((8, 8, 3), np.uint8))
    report = flown(root, network)
    assert "more.png" not in report.text


def test_of_large_sets_a_part_is_looked_at(tmp_path: Path, network: nn.Module) -> None:
    root = write_discs(tmp_path)
    # Only two of the training images and one of val: no class may be called unused for that.
    report = flown(root, network, limit=2)
    assert report.counts.looked_at == 2
    assert any("train: 2 of 16 samples were looked at" in remark for remark in report.remarks)
    assert "unused" not in report.text and report.errors == ()


def test_memory_that_may_run_out_is_a_warning(
    tmp_path: Path, network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitrail.training.memory.free_memory", lambda device: 10**6)
    report = flown(write_discs(tmp_path), network, batch_size=64)
    (warning,) = [w for w in report.warnings if "memory" in w]
    assert "64 images of 64 px take" in warning and "80% of the 1 MB" in warning
    report.refuse()


def test_nothing_but_background_stops(tmp_path: Path, network: nn.Module) -> None:
    root = write_discs(tmp_path)
    given = batch(root)
    for mask in (root / "train" / "masks").iterdir():
        cv2.imwrite(str(mask), np.zeros((64, 64), np.uint8))
    report = preflight(sources(root), network, given, task(root, network), root=root)
    assert any("no labelled pixel of any class but the background" in e for e in report.errors)


def test_a_batch_is_learnt_in_half_precision_too(tmp_path: Path, network: nn.Module) -> None:
    fit = fit_one_batch(
        network, *batch(write_discs(tmp_path)), semantic_terms, precision="bfloat16"
    )
    assert fit.problem is None and len(fit.losses) == 9


def test_the_random_generator_stays(tmp_path: Path, network: nn.Module) -> None:
    given = batch(write_discs(tmp_path))
    before = torch.get_rng_state()
    fit_one_batch(network, *given, semantic_terms, steps=1)
    assert torch.equal(torch.get_rng_state(), before)


def constant(raw: RawOutput, targets: SemanticTargets) -> Terms:
    return {"ce": raw.logits.sum() * 0 + 1}


def rising(raw: RawOutput, targets: SemanticTargets) -> Terms:
    """Its gradient has the wrong sign."""
    value = LOSS(raw.logits, targets)["ce"]
    return {"ce": 2 * value.detach() - value}


def broken(raw: RawOutput, targets: SemanticTargets) -> Terms:
    return {"ce": LOSS(raw.logits, targets)["ce"], "dice": raw.logits.sum() * float("nan")}


def detached(raw: RawOutput, targets: SemanticTargets) -> Terms:
    return {"ce": LOSS(raw.logits.detach(), targets)["ce"]}


def rooted(raw: RawOutput, targets: SemanticTargets) -> Terms:
    """The derivative of a root is infinite at 0."""
    return {"ce": (raw.logits - raw.logits.detach()).abs().sqrt().sum() + 1}


@pytest.mark.parametrize(
    ("faulty", "problem"),
    [
        (constant, "no gradient reaches any parameter"),
        (detached, "no gradient reaches any parameter"),
        (rising, "the loss does not fall"),
        (broken, "dice is nan before the first step"),
        (rooted, "the gradient is not finite of encoder"),
    ],
)
def test_what_cannot_learn_is_told(faulty, problem: str, tmp_path: Path, network) -> None:
    fit = fit_one_batch(
        network,
        *batch(write_discs(tmp_path)),
        lambda model, images, targets, precision: faulty(model(images), targets),
    )
    assert fit.problem is not None and problem in fit.problem
    assert fit.text == f"one batch: {fit.problem}"


def test_parameters_without_a_gradient_are_named(tmp_path: Path, network: nn.Module) -> None:
    network.register_module("spare", nn.Linear(2, 2))
    root = write_discs(tmp_path)
    report = flown(root, network)
    assert report.one_batch.without_gradient == ("spare.weight", "spare.bias")
    assert "no gradient reaches spare.weight, spare.bias" in report.warnings


def test_frozen_networks_and_empty_batches(tmp_path: Path, network: nn.Module) -> None:
    root = write_discs(tmp_path)
    images, targets = batch(root)
    empty = targets._replace(labels=torch.full_like(targets.labels, 255))
    own = task(root, network)
    report = preflight(sources(root), network, (images, empty), own, root=root)
    assert report.one_batch.problem == "none of its pixels has a label"
    assert report.one_batch.text in report.errors
    frozen = network.requires_grad_(False)
    assert "all are frozen" in str(fit_one_batch(frozen, images, targets, semantic_terms).problem)
