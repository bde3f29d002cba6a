"""Small street scenes in the layout of Cityscapes, painted as the set's own scripts paint."""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import PIL.ImageDraw

from vitrail.data.formats.base import Dataset, Options, Splits, refuse
from vitrail.data.formats.cityscapes import FORMAT, CityscapesOptions
from vitrail.data.formats.writing import samples
from vitrail.data.sample import Sample

IDS = {
    **{"unlabeled": 0, "ego vehicle": 1, "road": 7, "sidewalk": 8, "parking": 9, "building": 11},
    **{"sky": 23, "person": 24, "rider": 25, "car": 26, "caravan": 29, "bicycle": 33},
}
TRAIN_IDS = {7: 0, 8: 1, 11: 2, 23: 10, 24: 11, 25: 12, 26: 13, 33: 18}
THINGS = {"person", "rider", "car", "caravan", "bicycle"}
SIZE = (48, 64)

Objects = list[tuple[str, list[list[int]]]]


def box(x1: int, y1: int, x2: int, y2: int) -> list[list[int]]:
    return [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]


def scene(seed: int) -> Objects:
    """Sky, road, two cars of which one hides a part of the other, a group, a caravan, a person."""
    s = seed % 5
    return [
        ("sky", box(0, 0, 63, 20)),
        ("building", box(4, 4, 30 + s, 22)),
        ("road", [[0, 47], [63, 47], [50, 20], [10, 20]]),
        ("car", box(20, 22 + s, 36, 34 + s)),
        ("car", box(30, 26, 44, 38)),
        ("license plate", box(34, 34, 38, 35)),
        ("persongroup", box(46, 18, 54, 30)),
        ("caravan", box(2, 24, 9, 33)),
        ("person", [[56, 20], [60, 20], [58, 40]]),
        ("ego vehicle", [[10, 47], [54, 47], [32, 43 - s]]),
    ]


@dataclass
class Painted:
    """What the label files of a scene hold."""

    labels: np.ndarray
    instances: np.ndarray

    @property
    def trained(self) -> np.ndarray:
        made = np.full(self.labels.shape, 255, np.uint8)
        for label, trained in TRAIN_IDS.items():
            made[self.labels == label] = trained
        return made


def paint(objects: Objects, size: tuple[int, int] = SIZE) -> Painted:
    """json2labelImg and json2instanceImg of cityscapesScripts."""
    height, width = size
    labels = PIL.Image.new("L", (width, height), 0)
    instances = PIL.Image.new("I", (width, height), 0)
    counts: dict[str, int] = {}
    for name, polygon in objects:
        single = name.removesuffix("group")
        if single == "license plate":
            continue
        value = IDS[single]
        points = [(x, y) for x, y in polygon]
        PIL.ImageDraw.Draw(labels).polygon(points, fill=value)
        if single in THINGS and single == name:
            value = value * 1000 + counts.get(single, 0)
            counts[single] = counts.get(single, 0) + 1
        PIL.ImageDraw.Draw(instances).polygon(points, fill=value)
    return Painted(np.asarray(labels), np.asarray(instances).astype(np.uint16))


def polygons(objects: Objects, size: tuple[int, int] = SIZE) -> dict:
    made = [{"label": name, "polygon": polygon} for name, polygon in objects]
    return {"imgHeight": size[0], "imgWidth": size[1], "objects": made}


def place(root: Path, split: str, city: str, name: str, ending: str, kind: str = "gtFine") -> Path:
    """Where a file lies; ``ending`` "" is the image."""
    if not ending:
        return root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png"
    return root / kind / split / city / f"{name}_{kind}_{ending}"


def write_scene(
    root: Path, split: str, city: str, name: str, seed: int, kind: str = "gtFine"
) -> Painted:
    """One image with all its label files."""
    objects = scene(seed)
    painted = paint(objects)
    image = np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8)
    files = {
        "": image,
        "labelIds.png": painted.labels,
        "labelTrainIds.png": painted.trained,
        "instanceIds.png": painted.instances,
        "color.png": np.repeat(painted.labels[..., None], 3, axis=2),
    }
    for ending, pixels in files.items():
        path = place(root, split, city, name, ending, kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), pixels)
    path = place(root, split, city, name, "polygons.json", kind)
    path.write_text(json.dumps(polygons(objects)))
    return painted


SCENES = (
    ("val", "frankfurt", "frankfurt_000000_000294_x"),
    ("train", "zurich", "zurich_000000_000019"),
    ("train", "aachen", "aachen_000001_000019"),
    ("train", "aachen", "aachen_000000_000019"),
)


def write_cityscapes(root: Path, kind: str = "gtFine") -> dict[str, Painted]:
    """Four images of three cities; what they hold by id."""
    return {
        f"{city}/{name}": write_scene(root, split, city, name, seed, kind)
        for seed, (split, city, name) in enumerate(SCENES)
    }


# Read and written by vitrail ---------------------------------------------------------------------

NAME = "aachen_000000_000019"


def opened(root: Path, **options) -> Dataset:
    return FORMAT.open(root, CityscapesOptions(**options))


def by_id(dataset: Dataset) -> dict[str, Sample]:
    return {one.id: one for _, source in dataset.items() for one in samples(source)}


def one_scene(root: Path, keep: str = "*") -> Path:
    """A set of one image; ``keep``: which of its label files stay. Returns their folder."""
    write_scene(root, "train", "aachen", NAME, 3)
    folder = root / "gtFine" / "train" / "aachen"
    kept = set(folder.glob(keep))
    for path in set(folder.iterdir()) - kept:
        path.unlink()
    return folder


def write(parts: Splits, folder: Path) -> Dataset:
    folder.mkdir(exist_ok=True)
    assert FORMAT.write is not None
    FORMAT.write(parts, folder, Options())
    dataset = opened(folder)
    for split in dataset.splits:
        dataset[split]
    refuse(dataset.problems)
    return dataset
