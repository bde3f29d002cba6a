"""A small set laid out like PASCAL VOC 2012, drawn and written without vitrail."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

CLASSES = [
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
]


def same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    """Whether both are there, with the same shape and values."""
    return one is not None and other is not None and np.array_equal(one, other)


def colour_map() -> np.ndarray:
    """``(256, 3)`` uint8: bit k of the three lowest bits of the id goes to R, G, B from the top."""
    table = np.zeros((256, 3), np.uint8)
    for index in range(256):
        for bit in range(8):
            table[index, bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
    return table


@dataclass
class Drawn:
    """The truth of one image."""

    image: np.ndarray
    labels: np.ndarray
    objects: np.ndarray
    classes: list[int]
    """Of each object, from object 1."""
    boxes: list[tuple[int, int, int, int]]
    """As the XML has them: xmin, ymin, xmax, ymax; from 1, inclusive."""


def draw(seed: int, size: tuple[int, int] = (48, 64)) -> Drawn:
    """Two or three rectangles, each with a border of void, on noise."""
    rng = np.random.default_rng(seed)
    height, width = size
    image = rng.integers(0, 80, (height, width, 3)).astype(np.uint8)
    labels, objects = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    classes: list[int] = []
    boxes: list[tuple[int, int, int, int]] = []
    for number in range(1, 3 + seed % 2):
        class_id = int(rng.integers(1, 21))
        x1 = 4 + (number - 1) * 20 + int(rng.integers(0, 3))
        y1 = int(rng.integers(4, 12))
        x2, y2 = x1 + int(rng.integers(8, 14)), y1 + int(rng.integers(14, 28))
        for ids in (labels, objects):
            ids[y1 - 1 : y2 + 1, x1 - 1 : x2 + 1] = 255
        labels[y1:y2, x1:x2], objects[y1:y2, x1:x2] = class_id, number
        image[y1:y2, x1:x2] = rng.integers(100, 255, 3)
        classes.append(class_id)
        boxes.append((x1, y1, x2 + 1, y2 + 1))  # around the void border, as people drew them
    return Drawn(image, labels, objects, classes, boxes)


def xml(name: str, drawn: Drawn) -> str:
    """Its annotation in the words of the development kit."""
    parts = [f"<annotation>\n\t<folder>VOC2012</folder>\n\t<filename>{name}.jpg</filename>\n"]
    height, width = drawn.labels.shape
    parts.append(
        f"\t<size><width>{width}</width><height>{height}</height><depth>3</depth></size>\n"
    )
    parts.append("\t<segmented>1</segmented>\n")
    for number, (class_id, box) in enumerate(zip(drawn.classes, drawn.boxes, strict=True), 1):
        tags = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
        corners = "".join(f"<{tag}>{value}</{tag}>" for tag, value in tags)
        parts.append(
            f"\t<object><name>{CLASSES[class_id]}</name><pose>Left</pose>"
            f"<truncated>{number % 2}</truncated><difficult>{1 - number % 2}</difficult>"
            f"<bndbox>{corners}</bndbox></object>\n"
        )
    return "".join([*parts, "</annotation>\n"])


def save_mask(path: Path, ids: np.ndarray, palette: np.ndarray | None = None) -> None:
    """A palette PNG."""
    picture = PIL.Image.fromarray(ids)
    picture.putpalette((colour_map() if palette is None else palette).ravel().tolist())
    picture.save(path)


SPLITS = {"train": ("2007_000032", "2007_000039", "2008_000008"), "val": ("2007_000033", "2011_3")}


def write_voc(root: Path) -> dict[str, Drawn]:
    """Write ``root/VOCdevkit/VOC2012``; returns the truth by name."""
    home = root / "VOCdevkit" / "VOC2012"
    folders = ("JPEGImages", "SegmentationClass", "SegmentationObject", "Annotations")
    for folder in (*folders, "ImageSets/Segmentation"):
        (home / folder).mkdir(parents=True)
    drawn: dict[str, Drawn] = {}
    for names in SPLITS.values():
        for name in names:
            one = drawn[name] = draw(len(drawn))
            PIL.Image.fromarray(one.image).save(home / "JPEGImages" / f"{name}.jpg", quality=95)
            save_mask(home / "SegmentationClass" / f"{name}.png", one.labels)
            save_mask(home / "SegmentationObject" / f"{name}.png", one.objects)
            (home / "Annotations" / f"{name}.xml").write_text(xml(name, one), "utf-8")
    for split, names in (*SPLITS.items(), ("trainval", sorted(drawn))):
        text = "".join(f"{name}\n" for name in names)
        (home / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(text, "utf-8")
    return drawn
