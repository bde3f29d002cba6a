"""What the examples of each page find when they run: files, names, and smaller values.

An example runs as it stands, but for what would be a download or take minutes; that is replaced,
and a replacement that no longer occurs on its page fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torchvision
from skimage import data

import vitrail.compat.mrcnn.model as modellib
from tests.compat.mrcnn.drawn import SmallConfig
from tests.docs.fences import ROOT, blocks_of
from tests.drawn import discs, write_discs


@dataclass(frozen=True, slots=True)
class Setting:
    """What a page's Python examples need, and what they have to print."""

    files: tuple[Callable[[Path], object], ...] = ()
    names: Callable[[], dict[str, Any]] = dict
    replaced: Mapping[str, str] = field(default_factory=dict)
    printed: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    """Patterns of files that are there at the end."""


def photo(folder: Path) -> None:
    cv2.imwrite(str(folder / "photo.jpg"), data.chelsea()[..., ::-1])


def photos(folder: Path) -> None:
    (folder / "photos").mkdir()
    for number, (image, _) in enumerate(discs(2)):
        cv2.imwrite(str(folder / "photos" / f"{number}.jpg"), image)


def labelled(name: str) -> Callable[[Path], None]:
    """A small set with the packaged model's classes under this name."""

    def write(folder: Path) -> None:
        write_discs(folder / name, train=8, val=2)
        (folder / name / "classes.txt").write_text("background\nperson\nanimal\n", "utf-8")

    return write


def shapes(folder: Path) -> None:
    write_discs(folder / "shapes", train=8, val=2)
    cv2.imwrite(str(folder / "photo.png"), discs(1)[0][0])
    (recipe,) = [
        block.text for block in blocks_of(ROOT / "docs" / "training.md") if block.language == "yaml"
    ]
    (folder / "shapes.yaml").write_text(recipe, "utf-8")


def split_tiles(folder: Path) -> None:
    from vitrail.data.opening import open_dataset
    from vitrail.data.split import Joined, write_split

    write_discs(folder / "magnetic_tile", train=8, val=2)
    ids = Joined(dict(open_dataset(folder / "magnetic_tile").items())).ids
    write_split(folder / "parts", {"train": ids[:8], "val": ids[8:9], "test": ids[9:]}, {})


def detector(folder: Path) -> None:
    """The weights of a small Mask R-CNN that finds something anywhere."""
    torch.manual_seed(0)
    model = modellib.MaskRCNN("inference", folder, SmallConfig())
    with torch.no_grad():
        model.network.get_parameter("box_predictor.scores.bias")[1] = 5.0
    model.save(folder / "small.safetensors")


def torchvisions(folder: Path) -> None:
    """A checkpoint as torchvision publishes them, of its smallest network."""
    network = torchvision.models.segmentation.lraspp_mobilenet_v3_large(
        weights=None, weights_backbone=None
    )
    torch.save(network.state_dict(), folder / "lraspp.pth")


def for_metrics() -> dict[str, Any]:
    """Two small label maps, two objects, a strength map with annotations."""
    from vitrail.result import Masks

    rng = np.random.default_rng(0)
    pairs = [(rng.integers(0, 11, (20, 30)), rng.integers(0, 11, (20, 30))) for _ in range(3)]
    dense = np.zeros((2, 20, 30), bool)
    dense[0, 2:9, 3:9] = dense[1, 10:18, 10:25] = True
    masks = Masks.from_dense(dense)
    return {
        "pairs": pairs,
        "image_id": 1,
        "class_ids": np.array([0, 3]),
        "masks": masks,
        "crowd": np.array([False, False]),
        "areas": masks.areas().astype(float),
        "scores": np.array([0.9, 0.8]),
        "annotations": [pairs[0][0], pairs[1][0]],
        "strength": rng.random((20, 30)),
    }


def for_migration() -> dict[str, Any]:
    return {"SmallConfig": SmallConfig, "class_names": ["BG", "square", "bar"]}


_OWN = '"maskrcnn-resnet101-matterport-coco", weights="mask_rcnn_coco.h5"'

SETTINGS: dict[str, Setting] = {
    "README.md": Setting(
        (photo, labelled("PATH")),
        replaced={
            "image_size=192": "image_size=64, workers=0",
            "fit_one_cycle(5)": "fit_one_cycle(1)",
            "lr_find()": "lr_find(10)",
        },
        printed=("animal",),
        written=("out/*.overlay.jpg", "mine.safetensors"),
    ),
    "docs/index.md": Setting((photo,), printed=("animal",), written=("out/*.overlay.jpg",)),
    "docs/tasks/segment-a-photo.md": Setting(
        (photo, photos), printed=("photos/0.jpg",), written=("out/*.overlay.jpg",)
    ),
    "docs/tasks/classical.md": Setting((photo,), printed=("centers",), written=("cat/*",)),
    "docs/tasks/measure-and-count.md": Setting(
        (photo, detector),
        replaced={
            '"maskrcnn-resnet50-fpn-v2-coco", score_threshold=0.7': '"small.safetensors"',
            '"street.jpg"': '"photo.jpg"',
        },
        printed=(" 25 24\n", "area"),
        written=("cut/*.overlay.jpg",),
    ),
    "docs/tasks/train-your-own.md": Setting(
        (photo, labelled("PATH")), printed=("epoch 2/2",), written=("mine.safetensors",)
    ),
    "docs/tasks/objects.md": Setting(
        (photo, detector),
        replaced={'"maskrcnn-resnet50-fpn-v2-coco"': '"small.safetensors"'},
        written=("out/*.overlay.jpg",),
    ),
    "docs/crf.md": Setting(printed=("%", "cat")),
    "docs/data.md": Setting((split_tiles,)),
    "docs/evaluate.md": Setting((labelled("PATH"),)),
    "docs/losses.md": Setting(printed=("'dice'",)),
    "docs/metrics.md": Setting(names=for_metrics),
    "docs/models.md": Setting(written=("unet.svg",)),
    "docs/maskrcnn.md": Setting(
        printed=("matterport", "(32, 40), (16, 20), (8, 10), (4, 5), (2, 3)", "'rpn_bbox'")
    ),
    "docs/migration.md": Setting(
        (photo, detector, labelled("oxford-iiit-pet")),
        for_migration,
        {
            "coco.CocoConfig": "SmallConfig",
            _OWN: '"small.safetensors"',
            '"mask_rcnn_coco.h5", by_name': '"small.safetensors", by_name',
            "mobilenetv2_100": "mobilenetv2_035",
            "[512, 256, 128, 64]": "[16, 8, 8, 8]",
            'encoder_weights="imagenet"': "encoder_weights=None",
            "image_size=128": "image_size=32",
            "batch_size=64": "batch_size=4, workers=0",
            "fit(20": "fit(1",
        },
        ("(300, 451, ", "torch.Size([1, 3, 64, 64])", "class 1"),
        ("out/*.overlay.jpg", "pets.safetensors"),
    ),
    "docs/training.md": Setting(
        (shapes,), printed=("epoch 2/2", "mean_iou"), written=("runs/*/report.html",)
    ),
    "docs/weights.md": Setting(
        (torchvisions,),
        replaced={
            '"deeplabv3-resnet101-coco", weights="deeplabv3_resnet101_coco-586e9e4e.pth"': (
                '"lraspp-mobilenetv3-coco", weights="lraspp.pth"'
            )
        },
    ),
    "docs/architectures/gated-scnn.md": Setting(printed=("[1, 21, 128, 160]",)),
}
"""By page; a page that is not here needs nothing."""
