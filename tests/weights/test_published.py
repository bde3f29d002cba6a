"""The cards of published weights against what their publishers say."""

import numpy as np
import pytest
import torch
from torchvision.models import detection, get_weight

from vitrail.models.registry import build
from vitrail.weights.card import Card
from vitrail.weights.published import PUBLISHED
from vitrail.weights.published.coco import COCO_CLASSES, COCO_CLASSES_WITH_GAPS, COCO_IDS
from vitrail.weights.published.detection import DETECTION

CARDS = {card.name: card for card in PUBLISHED}
TORCHVISION = {
    "maskrcnn-resnet50-fpn-coco": "MaskRCNN_ResNet50_FPN_Weights",
    "maskrcnn-resnet50-fpn-v2-coco": "MaskRCNN_ResNet50_FPN_V2_Weights",
    "fasterrcnn-resnet50-fpn-coco": "FasterRCNN_ResNet50_FPN_Weights",
    "fasterrcnn-resnet50-fpn-v2-coco": "FasterRCNN_ResNet50_FPN_V2_Weights",
    "fasterrcnn-mobilenetv3-fpn-coco": "FasterRCNN_MobileNet_V3_Large_FPN_Weights",
    "fasterrcnn-mobilenetv3-320-fpn-coco": "FasterRCNN_MobileNet_V3_Large_320_FPN_Weights",
}


def test_names_and_files_are_unique() -> None:
    assert len(CARDS) == len(PUBLISHED)
    files = [card.download.file for card in PUBLISHED if card.download]
    assert len(set(files)) == len(files) == len(PUBLISHED)


def test_cocos_eighty() -> None:
    """As ``instances_val2017.json`` has them, whose ids go up to 90."""
    assert len(COCO_CLASSES) == len(set(COCO_CLASSES)) == 80
    assert len(COCO_CLASSES_WITH_GAPS) == len(set(COCO_CLASSES_WITH_GAPS)) == 90
    missing = sorted(set(range(1, 91)) - COCO_IDS.keys())
    assert missing == [12, 26, 29, 30, 45, 66, 68, 69, 71, 83]
    assert [COCO_IDS[n] for n in (1, 13, 44, 46, 67, 70, 72, 90)] == [
        *("person", "stop sign", "bottle", "wine glass", "dining table", "toilet", "tv"),
        "toothbrush",
    ]


def test_the_same_categories_as_in_the_coco_images() -> None:
    """torchvision's list has one entry for each id, with background and gaps."""
    theirs = detection.MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    assert {n: name for n, name in enumerate(theirs) if name not in ("N/A", "__background__")} == (
        COCO_IDS
    )
    gaps = {n for n, name in enumerate(theirs) if name == "N/A"}
    assert {n for n in range(1, 91) if COCO_CLASSES_WITH_GAPS[n - 1] == f"unused {n}"} == gaps


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvisions_metadata(name: str) -> None:
    """Of torchvision 0.29.2."""
    card, weights = CARDS[name], get_weight(f"{TORCHVISION[name]}.COCO_V1")
    assert card.download is not None and card.download.url == weights.url
    assert weights.url.endswith(f"-{card.download.sha256}.pth")
    mebibytes = weights.meta["_file_size"]
    assert abs(card.download.size / 2**20 - mebibytes) < 1e-5
    metrics = weights.meta["_metrics"]["COCO-val2017"]
    told = card.scores[0].values
    assert told["box_ap"] * 100 == pytest.approx(metrics["box_map"])
    assert told.get("mask_ap", 0) * 100 == pytest.approx(metrics.get("mask_map", 0))
    assert card.training_command.endswith(weights.meta["recipe"])
    assert card.arguments["masks"] == ("mask_map" in metrics)
    assert len(card.classes) == card.arguments["classes"] == 90


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvisions_input(name: str) -> None:
    """Its detectors hold it: short side, long side, mean and standard deviation."""
    function = TORCHVISION[name].removesuffix("_Weights").lower()
    transform = getattr(detection, function)(weights=None, weights_backbone=None).transform
    used = CARDS[name].preprocessing
    assert transform.min_size == (used.image_size,) and transform.max_size == used.max_side
    assert tuple(transform.image_mean) == used.mean and tuple(transform.image_std) == used.std


DETECTRON2 = [card for card in DETECTION if card.download and card.download.layout == "detectron2"]


@pytest.mark.parametrize("card", DETECTRON2, ids=lambda card: card.name)
def test_detectron2s(card: Card) -> None:
    """Its files are named after their md5; its configuration has BGR means of bytes."""
    assert card.download is not None and card.download.sha256 is None
    assert card.download.file == f"model_final_{card.download.md5}.pkl"
    assert card.download.url.endswith(f"/{card.download.file}")
    assert card.classes == COCO_CLASSES and card.arguments["classes"] == 80
    means, stds = np.array(card.preprocessing.mean) * 255, np.array(card.preprocessing.std) * 255
    assert means == pytest.approx([123.675, 116.28, 103.53]) and stds == pytest.approx([1, 1, 1])


@pytest.mark.parametrize("card", DETECTION, ids=lambda card: card.name)
def test_the_network_is_as_large_as_the_file(card: Card) -> None:
    """Arguments that build another network would not give the published bytes.

    matterport's file has what is folded away at import, besides (biases before norms and the norms
    of the heads, 283 kB), and what HDF5 notes of some hundred layers.
    """
    assert card.download is not None
    with torch.device("meta"):
        model = build(card.architecture, card.arguments)
    assert model.classes == len(card.classes) and card.background is None
    held = sum(
        value.numel() * value.element_size()
        for name, value in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    )
    if card.download.layout == "torchvision-detection":
        held += _of_background(card)
    within = 1_500_000 if card.download.layout == "matterport" else 600_000
    assert abs(card.download.size - held) < within


def _of_background(card: Card) -> int:
    """Bytes of torchvision's outputs for the class 0, for which we have none."""
    box, mask = 4 * (1024 + 1), (256 + 1) if card.arguments["masks"] else 0
    return 4 * (box + mask)
