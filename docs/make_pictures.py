"""Make the pictures of README and docs again: python docs/make_pictures.py [NAME ...]

From photographs that come with scikit-image: Chelsea the cat (CC0, Stefan van der Walt), the
astronaut Eileen Collins (public domain, NASA), a cup of coffee (CC0, Rachel Michetti), Greek coins
from Pompeii (no known copyright restrictions, Brooklyn Museum Collection).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from skimage import data

import vitrail
from vitrail.result.legend import contact_sheet
from vitrail.result.write import write_picture

IMAGES = Path(__file__).parent / "images"


def demo() -> np.ndarray:
    """What the packaged model says of three photographs."""
    subjects = vitrail.load("subjects")
    photos = {"chelsea": data.chelsea(), "astronaut": data.astronaut(), "coffee": data.coffee()}
    return contact_sheet(
        [(name, subjects(photo).plot()) for name, photo in photos.items()], columns=3
    )


def classical() -> np.ndarray:
    """Four classical methods on one photograph."""
    photo = data.coffee()
    methods = {
        "kmeans, k=3": vitrail.load("kmeans", k=3),
        "edges, sobel": vitrail.load("edges"),
        "threshold, mean": vitrail.load("threshold"),
        "slic": vitrail.load("slic"),
    }
    styles = {"kmeans, k=3": {"fill": "mean"}}
    pictures = [
        (name, method(photo).plot(**styles.get(name, {}))) for name, method in methods.items()
    ]
    return contact_sheet(pictures, columns=2)


def start() -> np.ndarray:
    """A photograph, its overlay, its labels and the animal cut out."""
    photo = data.chelsea()
    result = vitrail.load("subjects")(photo)
    assert isinstance(result, vitrail.SemanticResult)
    animal = result.labels == result.classes.index("animal")
    labels = np.where(animal[..., None], (220, 60, 90), 0).astype(np.uint8)
    ground = np.full_like(photo, 235)
    ground[(np.indices(animal.shape) // 16).sum(0) % 2 == 0] = 205  # squares: transparent
    cut_out = np.where(animal[..., None], photo, ground)
    return contact_sheet(
        [
            ("photo", photo),
            ("overlay", result.plot()),
            ("labels", labels),
            ("cut out", cut_out),
        ],
        columns=2,
    )


def count() -> np.ndarray:
    """Coins: a global threshold, a local one, and the parts of 500 px, in colours."""
    photo = cv2.cvtColor(data.coins(), cv2.COLOR_GRAY2RGB)
    whole = vitrail.load("threshold", method="otsu", object="bright")(photo)
    local = vitrail.load("threshold", method="local", block_size=101, offset=0.02, object="bright")
    near = local(photo)
    assert isinstance(near, vitrail.SemanticResult)
    parts = [part for part in near.segments(connected=True) if part.area >= 500]
    coins = [part for part in parts if min(part.bbox[:2]) > 0]
    regions = np.zeros(near.size, np.int32)
    for number, coin in enumerate(coins, start=1):
        regions[coin.masks.dense()[0]] = number
    counted = vitrail.RegionResult(regions, image=vitrail.read_image(photo))
    return contact_sheet(
        [
            ("photo", photo),
            ("threshold, otsu", whole.plot()),
            ("threshold, local", near.plot()),
            (f"parts of 500 px, not at the frame: {len(coins)}", counted.plot(fill="palette")),
        ],
        columns=2,
    )


def crf() -> np.ndarray:
    """A few strokes, and what the CRF makes of them: the example of docs/crf.md."""
    photo = data.chelsea()
    strokes = np.full(photo.shape[:2], 255, np.uint8)
    strokes[100:220, 180:260:20] = 1
    strokes[230:280, 60:200:20] = 1
    strokes[20:80, 5:15] = 0
    strokes[60:200, 400:420] = 0
    result = vitrail.refine(
        photo,
        strokes,
        ["ground", "cat"],
        background=0,
        ignore=255,
        confidence=0.99,
        bilateral_weight=10,
        theta_alpha=80,
        theta_beta=13,
    )
    drawn = photo.copy()
    drawn[cv2.dilate((strokes == 1).astype(np.uint8), np.ones((5, 5))) > 0] = (230, 40, 60)
    drawn[strokes == 0] = (40, 90, 230)
    return contact_sheet([("strokes", drawn), ("refined", result.plot())], columns=2)


PICTURES: dict[str, Callable[[], np.ndarray]] = {
    "demo": demo,
    "classical": classical,
    "start": start,
    "count": count,
    "crf": crf,
}


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    for name in sys.argv[1:] or PICTURES:
        write_picture(IMAGES / f"{name}.jpg", PICTURES[name]())
