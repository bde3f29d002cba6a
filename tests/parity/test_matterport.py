"""matterport's Mask R-CNN (commit 3deaec5, TensorFlow 2.15, scikit-image 0.21): the same numbers.

What is compared with was recorded from the original (:mod:`tests.recorded_matterport`).
``kitgen.py`` there makes the network's weights, ``small_img0.npz`` holds every stage of one image,
``units.npz`` inputs and outputs of each step.
"""

import copy
import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.recorded_matterport import recorded_folder, recorded_masks, share_equal
from vitrail.image import read_image
from vitrail.models.base import Frame
from vitrail.models.instances import DetectionParams, RawDetections
from vitrail.models.maskrcnn.arguments import MaskRCNNArguments
from vitrail.models.maskrcnn.build import SamePool
from vitrail.models.maskrcnn.detections import detect
from vitrail.models.maskrcnn.families import FAMILIES
from vitrail.models.maskrcnn.network import MaskRCNN
from vitrail.models.maskrcnn.paste import enlarge_masks
from vitrail.models.maskrcnn.proposals import by_anchor, propose
from vitrail.models.registry import build
from vitrail.nn.roi import crop_and_resize, level_of
from vitrail.predict.engines import engine_for
from vitrail.predict.matterport import MEAN_PIXEL, fit, frame, image_meta, mold
from vitrail.result import InstanceResult
from vitrail.weights.files import load_state
from vitrail.weights.importers.matterport import (
    from_matterport,
    read_matterport,
    read_whole_matterport,
)
from vitrail.weights.importers.matterport_layers import Layer
from vitrail.weights.published.detection import DETECTION

pytestmark = pytest.mark.data

XY = [1, 0, 3, 2]
"""From the original's y1 x1 y2 x2 to ours, and back."""
LAST = 511
"""Of the px along a side of the input: the original's boxes are in units of that."""


@pytest.fixture(scope="module")
def folder() -> Path:
    return recorded_folder()


@pytest.fixture(scope="module")
def units(folder: Path) -> dict[str, np.ndarray]:
    return dict(np.load(folder / "units.npz"))


@pytest.fixture(scope="module")
def stages(folder: Path) -> dict[str, np.ndarray]:
    return dict(np.load(folder / "small_img0.npz"))


@pytest.fixture(scope="module")
def weights(folder: Path) -> dict[str, np.ndarray]:
    spec = importlib.util.spec_from_file_location("kitgen", folder / "kitgen.py")
    assert spec is not None and spec.loader is not None
    kit = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kit)
    return kit.load("small")[0]


class Run(NamedTuple):
    """What ours makes of the recorded image."""

    network: MaskRCNN
    molded: np.ndarray
    frame: Frame
    stem: Tensor
    features: list[Tensor]
    raw: RawDetections


@pytest.fixture(scope="module")
def run(folder: Path, weights: dict[str, np.ndarray]) -> Run:
    found = from_matterport(weights)
    network = build("mask-rcnn", found.arguments).eval()
    assert isinstance(network, MaskRCNN)
    load_state(network, found.tensors, "kitgen")
    picture = np.asarray(PIL.Image.open(folder / "small_img0.png").convert("RGB"))
    fitted = fit(picture.shape[:2], least=400, most=512)
    molded = mold(picture, fitted)
    images = torch.from_numpy(molded - np.array(MEAN_PIXEL, np.float32)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        stem, *features = network.encoder(images)
        stem = network.encoder.net.maxpool(stem)
        raw = network(images)
    return Run(network, molded, frame(picture.shape[:2], fitted), stem, features, raw)


def matched(ours: Tensor | np.ndarray, theirs: np.ndarray, within: float) -> None:
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=0, atol=within)


# --- steps -------------------------------------------------------------------------------------


def test_molding(folder: Path, units: dict[str, np.ndarray]) -> None:
    logged = {
        entry[0]: entry[1]
        for entry in json.loads((folder / "units_log.json").read_text())
        if str(entry[0]).startswith("resize")
    }
    assert len(logged) == 9
    for name, options in logged.items():
        picture = units[f"{name}_in"]
        fitted = fit(
            picture.shape[:2],
            least=options.get("min_dim") or 0,
            most=options.get("max_dim") or 0,
            least_scale=options.get("min_scale") or 0,
            mode=options["mode"],
        )
        assert fitted.window == tuple(units[f"{name}_window"])
        assert fitted.scale == units[f"{name}_scale"]
        np.testing.assert_array_equal(mold(picture, fitted), units[f"{name}_out"])


@pytest.mark.parametrize("number", range(6))
def test_masks_are_enlarged(number: int, units: dict[str, np.ndarray]) -> None:
    mask, box = units[f"unmold{number}_mask28"], units[f"unmold{number}_box"]
    out = units[f"unmold{number}_out"]
    np.testing.assert_array_equal(pasted(mask, box, out.shape), out)


def pasted(mask: np.ndarray, box: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """A mask at full size, from a box y1 x1 y2 x2."""
    boxes = box[None, XY].astype(np.float32)
    ((y, x, crop),) = enlarge_masks(
        mask[None], boxes, (size[0], size[1]), rule="resize", threshold=0.5
    )
    full = np.zeros(size, bool)
    full[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
    return full


@pytest.mark.parametrize("size", [7, 14])
def test_regions_of_a_pyramid(size: int, units: dict[str, np.ndarray]) -> None:
    levels = [chw(units[f"roialign_feat_P{level}"])[None] for level in range(2, 6)]
    boxes = torch.from_numpy(units["roialign_boxes"])[:, XY]
    canvas = torch.from_numpy(units["roialign_meta"][0, 4:6])
    sides = ((boxes[:, 2:] - boxes[:, :2]) * canvas).prod(1).clamp(min=0).sqrt()
    ours = [
        crop_and_resize(levels[level], boxes[i : i + 1], torch.zeros(1, dtype=torch.long), size)
        for i, level in enumerate(level_of(sides, (4, 8, 16, 32), "round").tolist())
    ]
    matched(torch.cat(ours).permute(0, 2, 3, 1), units[f"roialign{size}"], 1e-6)


@pytest.mark.parametrize("size", [1, 5])
def test_crops(size: int, units: dict[str, np.ndarray]) -> None:
    boxes = torch.from_numpy(units["car_boxes"])[:, XY]
    images = torch.zeros(len(boxes), dtype=torch.long)
    ours = crop_and_resize(chw(units["car_feat"])[None], boxes, images, size)
    matched(ours.permute(0, 2, 3, 1), units[f"car_out{size}"], 1e-6)


def chw(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values).movedim(-1, -3)


@pytest.mark.parametrize("sides", ["even", "odd"])
def test_the_first_pooling(sides: str, units: dict[str, np.ndarray]) -> None:
    name = f"L_maxpool3s2same_{sides}"
    ours = SamePool()(chw(units[f"{name}_in"]))
    np.testing.assert_array_equal(ours.permute(0, 2, 3, 1).numpy(), units[f"{name}_out"])


def test_the_transposed_convolution(units: dict[str, np.ndarray]) -> None:
    kernel = Layer("mrcnn_mask_deconv", (), "").turned(units["L_deconv2s2_w0"])
    weight, bias = torch.from_numpy(kernel.copy()), torch.from_numpy(units["L_deconv2s2_w1"])
    ours = F.conv_transpose2d(chw(units["L_deconv2s2_in"]), weight, bias, stride=2).relu()
    matched(ours.permute(0, 2, 3, 1), units["L_deconv2s2_out"], 1e-5)


@pytest.mark.parametrize(
    "name, kept, candidates", [("pad", 100, 6000), ("trunc", 12, 6000), ("prelimit", 100, 30)]
)
def test_proposals_with_ties(
    name: str, kept: int, candidates: int, units: dict[str, np.ndarray]
) -> None:
    arguments = family(proposals={"kept": kept, "candidates": candidates})
    anchors, deltas = (
        torch.from_numpy(units[f"proposal_{of}"][:, XY]) for of in ("anchors", "deltas")
    )
    scores = torch.from_numpy(units["proposal_probs"][:, 1]).logit()
    (found,) = propose(
        [scores.view(1, 1, -1, 1)],
        [deltas.T.reshape(1, 4, -1, 1)],
        [anchors * LAST],
        torch.tensor([[0.0, 0.0, LAST, LAST]]),
        arguments,
        training=False,
    )
    theirs = units[f"proposal_{name}"]
    matched(found[:, XY] / LAST, theirs[theirs.any(1)], 1e-6)


@pytest.mark.parametrize("name", ["normal", "lowconf", "noconf0", "allbg", "over100"])
def test_detections(name: str, units: dict[str, np.ndarray]) -> None:
    rois, probabilities, deltas, out, meta = (
        torch.from_numpy(units[f"det_{name}_{of}"])
        for of in ("rois", "probs", "deltas", "out", "meta")
    )
    last = meta[4] - 1
    # Of some rows the sum is not 1; none but the best class counts.
    best = probabilities.amax(1, keepdim=True)
    others = (1 - best) / (probabilities.shape[1] - 1)
    probabilities = torch.where(probabilities == best, best, others)
    (found,) = detect(
        probabilities.log(),
        deltas[:, 1:, XY].flatten(1),
        [rois[:, XY] * last],
        (meta[None, 7:11] - torch.tensor([0, 0, 1, 1]))[:, XY],
        family(classes=probabilities.shape[1] - 1),
        DetectionParams.model_validate(
            {"score_threshold": float(units[f"det_{name}_minconf"]), "nms": 0.3}
        ),
    )
    theirs = out[out[:, 5] > 0]
    ours = torch.cat(
        [found.boxes[:, XY] / last, found.class_ids[:, None] + 1, found.scores[:, None]], 1
    )
    matched(ordered(ours), ordered(theirs), 1e-5)


def ordered(rows: Tensor) -> np.ndarray:
    """Detections by score, class and place: equal scores may come in any order."""
    values = rows.numpy().astype(np.float64)
    return values[np.lexsort((values[:, 0].round(3), values[:, 4], -values[:, 5].round(5)))]


def family(*, classes: int = 80, **parts: dict) -> MaskRCNNArguments:
    values = dict(FAMILIES["matterport"])
    for name, part in parts.items():
        old = values[name]
        assert isinstance(old, dict)
        values[name] = {**old, **part}
    return MaskRCNNArguments.model_validate({**values, "classes": classes})


# --- the file ----------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["keras208", "keras215"])
def test_both_layouts(
    layout: str, folder: Path, weights: dict[str, np.ndarray], tmp_path: Path
) -> None:
    path = tmp_path / "small.h5"
    command = [sys.executable, folder / "kitgen.py", "small", path, "--layout", layout]
    subprocess.run(command, check=True)
    found, expected = read_whole_matterport(path), from_matterport(weights)
    assert found.arguments == expected.arguments and not found.missing
    assert found.tensors.keys() == expected.tensors.keys()
    assert all(torch.equal(found.tensors[name], expected.tensors[name]) for name in found.tensors)
    excluded = read_matterport(path, exclude=["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_mask"])
    assert len(excluded.tensors) == len(found.tensors) - 6


# --- the stages of one image -------------------------------------------------------------------


def test_the_input(run: Run, stages: dict[str, np.ndarray]) -> None:
    np.testing.assert_array_equal(run.molded, stages["molded_u8"])
    size = run.frame.original
    meta = image_meta(size, fit(size, least=400, most=512), [0] * 81)
    matched(meta, stages["image_meta"], 1e-6)


@pytest.mark.parametrize("name", [*(f"C{i}" for i in range(1, 6)), *(f"P{i}" for i in range(2, 7))])
def test_features(name: str, run: Run, stages: dict[str, np.ndarray]) -> None:
    named = dict(zip(["C1", "C2", "C3", "C4", "C5"], [run.stem, *run.features], strict=True))
    named |= dict(zip(["P2", "P3", "P4", "P5", "P6"], run.raw.features, strict=True))
    ours = named[name][0].permute(1, 2, 0).numpy()
    typical = stages[f"{name}_chan_rms"].mean()
    first, step, channels = stages[f"{name}_sample_slice"]
    sample = ours[first::step, first::step, ::channels]
    matched(sample / typical, stages[f"{name}_sample"] / typical, 2e-4)
    mean = ours.mean((0, 1), dtype=np.float64)
    matched(mean / typical, stages[f"{name}_chan_mean"] / typical, 2e-5)


def test_what_the_proposal_network_says(run: Run, stages: dict[str, np.ndarray]) -> None:
    objectness = torch.cat([by_anchor(level, 1) for level in run.raw.objectness], 1)[0, :, 0]
    matched(objectness.sigmoid(), stages["rpn_class"][:, 1], 2e-4)
    deltas = torch.cat([by_anchor(level, 4) for level in run.raw.deltas], 1)[0]
    matched(deltas[:, XY], stages["rpn_bbox"], 5e-4)


def test_proposals(run: Run, stages: dict[str, np.ndarray]) -> None:
    (found,) = run.network.proposals(run.raw, [run.frame], training=False)
    theirs = torch.from_numpy(stages["proposals"])
    apart = torch.cdist(theirs, found[:, XY] / LAST, p=float("inf")).amin(1)
    assert len(found) == len(theirs) and (apart < 1e-5).float().mean() >= 0.99


@torch.inference_mode()
def test_the_box_head(run: Run, stages: dict[str, np.ndarray]) -> None:
    """On the original's proposals. Of a few that touch the far border the original reads zeros
    there, since rounding takes their last samples outside; ours does not."""
    proposals = torch.from_numpy(stages["proposals"])
    boxes = [proposals[:, XY] * LAST]
    scores, deltas = run.network.box_outputs(run.raw.features, boxes)
    theirs = torch.from_numpy(stages["mrcnn_class"])
    equal = (scores.softmax(1) - theirs).abs().amax(1) < 2e-4
    assert equal[(proposals[:, 2:] < 1).all(1)].all()
    assert equal.float().mean() >= 0.99
    equal = equal.numpy()
    few = equal[:100]
    matched(scores[:100][few], stages["mrcnn_class_logits_first100"][few], 2e-3)
    matched(deltas.view(1000, 80, 4)[equal][..., XY], stages["mrcnn_bbox"][equal][:, 1:], 5e-4)
    (found,) = run.network.detect(scores, deltas, boxes, [run.frame])
    theirs = stages["detections"][stages["detections"][:, 5] > 0]
    assert len(found.boxes) == len(theirs)
    ours = torch.cat(
        [found.boxes[:, XY] / LAST, found.class_ids[:, None] + 1, found.scores[:, None]], 1
    )
    matched(ordered(ours), ordered(torch.from_numpy(theirs)), 2e-4)


@torch.inference_mode()
def test_the_mask_head(run: Run, stages: dict[str, np.ndarray]) -> None:
    theirs = torch.from_numpy(stages["detections"][: len(stages["mask28"])])
    boxes, classes = [theirs[:, XY] * LAST], [theirs[:, 4].long() - 1]
    ours = run.network.mask_probabilities(run.raw.features, boxes, classes)
    matched(ours, stages["mask28"], 2e-4)
    few = run.network.mask_logits(run.raw.features, [boxes[0][:2]]).sigmoid()
    matched(few.permute(0, 2, 3, 1), stages["mask28_all_classes_first2"][..., 1:], 2e-4)


def test_masks_at_full_size(stages: dict[str, np.ndarray]) -> None:
    for mask, box, full in zip(
        stages["mask28"], stages["rois"], recorded_masks(stages), strict=True
    ):
        np.testing.assert_array_equal(pasted(mask, box, full.shape), full)


@torch.inference_mode()
def test_the_detections_of_an_image(run: Run, stages: dict[str, np.ndarray]) -> None:
    (found,) = run.network.decode(run.raw, [run.frame])
    assert found.masks is not None
    boxes, classes = found.boxes.numpy()[:, XY], found.class_ids.numpy() + 1
    equal = share_equal(stages, classes, boxes, found.scores.numpy(), found.masks.dense())
    assert equal >= 0.97


def test_the_detections_of_an_image_as_predicted(
    run: Run, folder: Path, stages: dict[str, np.ndarray]
) -> None:
    """Batch norms folded, convolutions fused, channels last."""
    published = next(
        card for card in DETECTION if card.name.startswith("maskrcnn-resnet101-matter")
    )
    card = published.model_copy(update={"preprocessing": published.preprocessing.at_size(512)})
    assert (card.preprocessing.min_side, run.network.classes) == (400, len(card.classes))
    network = engine_for(
        copy.deepcopy(run.network), card, device=torch.device("cpu"), precision="float32"
    )
    found = network(read_image(folder / "small_img0.png"))
    assert isinstance(found, InstanceResult)
    boxes, classes = found.boxes[:, XY], found.class_ids + 1
    assert share_equal(stages, classes, boxes, found.scores, found.masks.dense()) >= 0.97


def test_noise_does_not_decide_over_objects_at_the_border(
    run: Run, stages: dict[str, np.ndarray]
) -> None:
    """As much as another order of additions makes: a few millionths."""
    for seed in range(3):
        dice = torch.Generator().manual_seed(seed)

        def shaken(levels: Sequence[Tensor], size: float, dice=dice) -> tuple[Tensor, ...]:
            noise = (torch.randn(level.shape, generator=dice) for level in levels)
            return tuple(
                level + size * level.abs().mean() * one
                for level, one in zip(levels, noise, strict=True)
            )

        raw = run.raw._replace(
            features=shaken(run.raw.features, 3e-6), deltas=shaken(run.raw.deltas, 1e-5)
        )
        (found,) = run.network.decode(raw, [run.frame])
        assert found.masks is not None
        boxes, classes = found.boxes.numpy()[:, XY], found.class_ids.numpy() + 1
        equal = share_equal(stages, classes, boxes, found.scores.numpy(), found.masks.dense())
        assert equal >= 0.97, seed
