"""Small labelled pictures drawn by code, for tests of data and training."""

from pathlib import Path

import cv2
import numpy as np


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
