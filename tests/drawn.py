"""Small labelled pictures drawn by code, for tests of data and training."""

import json
from pathlib import Path

import cv2
import numpy as np

from vitrail.result import Masks


def discs(number: int, *, size: int = 64, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """``(image, labels)`` pairs: a bright disc (class 1) or square (class 2) on noise."""
    rng = np.random.default_rng(seed)
    pairs = []
    for index in range(number):
        image = rng.integers(0, 90, (size, size, 3)).astype(np.uint8)
        labels = np.zeros((size, size), np.uint8)
        x, y = (int(v) for v in rng.integers(size // 3, 2 * size // 3, 2))
        radius = int(rng.integers(size // 6, size // 4))
        if index % 2:
            cv2.circle(image, (x, y), radius, (250, 200, 90), -1)
            cv2.circle(labels, (x, y), radius, 1, -1)
        else:
            corners = (x - radius, y - radius), (x + radius, y + radius)
            cv2.rectangle(image, *corners, (80, 180, 250), -1)
            cv2.rectangle(labels, *corners, 2, -1)
        pairs.append((image, labels))
    return pairs


def write_discs(root: Path, *, train: int = 16, val: int = 4) -> Path:
    """An index-mask data set under ``root``: ``{train,val}/{images,masks}``."""
    for seed, (split, number) in enumerate((("train", train), ("val", val))):
        for folder in ("images", "masks"):
            (root / split / folder).mkdir(parents=True)
        for index, (image, labels) in enumerate(discs(number, seed=seed)):
            name = f"{'disc' if index % 2 else 'square'}_{index:03d}.png"
            cv2.imwrite(str(root / split / "images" / name), image[..., ::-1])
            cv2.imwrite(str(root / split / "masks" / name), labels)
    return root


RECIPE = """
name: tiny
summary: discs and squares
data:
  root: {root}
  train: {{images: train/images, masks: train/masks}}
  val: {{images: val/images, masks: val/masks}}
  classes: [background, disc, square]
model:
  architecture: unet
  arguments: {{encoder: mobilenetv2_035, decoder_channels: [16, 16, 16, 8, 8]}}
preprocessing: {{image_size: 64}}
augment: {{scale: [0.9, 1.1], rotate: 5}}
train: {{epochs: 6, finish_epochs: 1, finish_size: 96, image_size: 64, batch_size: 4, lr: 5.0e-3,
         ema_decay: 0.9, workers: 0}}
training_data: drawn
licences: {{code: Apache-2.0, weights: Apache-2.0, training_data: CC0-1.0}}
"""


def write_recipe(folder: Path) -> Path:
    """The data set and a recipe that learns it in seconds; returns the recipe's path."""
    path = folder / "tiny.yaml"
    path.write_text(RECIPE.format(root=write_discs(folder / "discs")), "utf-8")
    return path


def objects(number: int, *, size: int = 64, seed: int = 0) -> list[tuple[np.ndarray, list]]:
    """``(image, objects)`` pairs: one to three bright discs (class 0) and squares (class 1) on
    noise, each as ``(class id, (H, W) bool mask)``; none covers another."""
    rng = np.random.default_rng(seed)
    pairs = []
    for index in range(number):
        image = rng.integers(0, 90, (size, size, 3)).astype(np.uint8)
        taken, found = np.zeros((size, size), bool), []
        while len(found) <= index % 3:
            radius = int(rng.integers(size // 10, size // 6))
            x, y = (int(v) for v in rng.integers(radius, size - radius, 2))
            kind, mask = len(found) % 2, np.zeros((size, size), np.uint8)
            if kind:
                cv2.rectangle(mask, (x - radius, y - radius), (x + radius, y + radius), 1, -1)
            else:
                cv2.circle(mask, (x, y), radius, 1, -1)
            if not (taken & (mask > 0)).any():
                taken |= mask > 0
                image[mask > 0] = (80, 180, 250) if kind else (250, 200, 90)
                found.append((kind, mask > 0))
        pairs.append((image, found))
    return pairs


def write_objects(root: Path, *, train: int = 8, val: int = 4, size: int = 64) -> Path:
    """A COCO data set under ``root`` with discs and squares.

    Of the first training image the first object is a crowd, of the second one it has a box only.
    """
    (root / "annotations").mkdir(parents=True)
    for seed, (split, number) in enumerate((("train", train), ("val", val))):
        (root / split).mkdir()
        images, annotations = [], []
        for index, (image, found) in enumerate(objects(number, size=size, seed=seed)):
            name = f"{index:03d}.png"
            cv2.imwrite(str(root / split / name), image[..., ::-1])
            images.append({"id": index, "file_name": name, "height": size, "width": size})
            for first, (kind, mask) in enumerate(found):
                rle = Masks.from_dense(mask[None]).rle()[0]
                x1, y1, x2, y2 = (int(v) for v in Masks.from_dense(mask[None]).boxes()[0])
                one = {
                    **{"id": len(annotations) + 1, "image_id": index, "category_id": kind + 1},
                    **{"bbox": [x1, y1, x2 - x1, y2 - y1], "area": int(mask.sum())},
                    "iscrowd": int(split == "train" and index == 0 and first == 0),
                }
                if not (split == "train" and index == 1 and first == 0):
                    one["segmentation"] = rle
                annotations.append(one)
        kinds = [{"id": 1, "name": "disc"}, {"id": 2, "name": "square"}]
        content = {"images": images, "annotations": annotations, "categories": kinds}
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content), "utf-8")
    return root


OBJECTS_RECIPE = """
name: tiny-objects
summary: discs and squares
data: {{root: {root}, format: coco}}
model:
  architecture: mask-rcnn
  arguments:
    encoder: mobilenetv2_050
    pyramid_channels: 16
    rpn_channels: 16
    box_width: 32
    mask_channels: 16
    mask_convs: 2
    anchors: {{sizes: [8, 16, 32, 64, 128]}}
    proposals: {{candidates: 200, candidates_training: 200, kept: 100, kept_training: 100}}
    sampling: {{anchors: 64, regions: 64}}
preprocessing: {{image_size: 64}}
augment: {{scale: [1.0, 1.0], stretch: 0, rotate: 0, colour: 0, grey: 0}}
train: {{epochs: 2, image_size: 64, batch_size: 4, lr: 5.0e-3, ema_decay: 0.9, workers: 0,
         precision: float32}}
training_data: drawn
licences: {{code: Apache-2.0, weights: Apache-2.0, training_data: CC0-1.0}}
"""


def write_objects_recipe(folder: Path) -> Path:
    """The data set of objects and a recipe for it; returns the recipe's path."""
    path = folder / "tiny-objects.yaml"
    path.write_text(OBJECTS_RECIPE.format(root=write_objects(folder / "objects")), "utf-8")
    return path
