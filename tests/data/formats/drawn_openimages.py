"""A small set in the layout of Open Images, drawn without vitrail; reading and writing it."""

from pathlib import Path

import cv2
import numpy as np

from vitrail.data.formats.base import Dataset, Options, Splits, refuse
from vitrail.data.formats.openimages import FORMAT, OpenImagesOptions
from vitrail.data.formats.writing import samples
from vitrail.data.sample import Instance, Sample

SIZE = (24, 40)
CAT, DOG, CAR = "/m/01yrx", "/m/0bt9lr", "/m/0k4j"
CLASSES = f"{CAT},Cat\n{DOG},Dog\n{CAR},Car\n"
MASKS = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks"
BOXES = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,"
    "IsDepiction,IsInside"
)
A, B, C = "0001eeaf4aed83f9", "000595fe6fee6369", "fff5905539074f2a"
CAT_MASK = f"{A}_m01yrx_b01e5c6a.png"
DOG_MASK = f"{B}_m0bt9lr_0fcd2b3e.png"
MASK_ROWS = [
    f"{CAT_MASK},{A},{CAT},b01e5c6a,0.100000,0.500000,0.250000,0.750000,0.84,0.2 0.3 1;0.4 0.4 0",
    f"{DOG_MASK},{B},{DOG},0fcd2b3e,0.000000,1.000000,0.000000,1.000000,,",
    f"absent.png,{'9' * 16},{DOG},00000000,0,1,0,1,,",
]
BOX_ROWS = [
    f"{A},xclick,{CAR},1,0.5,0.75,-0.125,1.5,-1,1,0,0,0",
    f"{A},xclick,{CAT},1,0.1,0.50000049,0.25,0.75,1,0,0,0,0",
    f"{A},activemil,{CAT},0.5,0,0.25,0,0.25,0,0,1,0,0",
    f"{'9' * 16},xclick,{DOG},1,0,1,0,1,0,0,0,0,0",
]


def opened(root: Path, **options) -> Dataset:
    return FORMAT.open(root, OpenImagesOptions(**options))


def faults(dataset: Dataset) -> list[tuple[str, str]]:
    for split in dataset.splits:
        dataset[split]
    return [(one.code, one.id) for one in dataset.problems]


def by_id(dataset: Dataset) -> dict[str, Sample]:
    return {one.id: one for _, source in dataset.items() for one in samples(source)}


def objects(one: Sample) -> list[Instance]:
    return list(one.instances or ())


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def oval(height: int, width: int) -> np.ndarray:
    made = np.zeros((height, width), np.uint8)
    cv2.ellipse(made, (width // 3, height // 2), (width // 5, height // 4), 0, 0, 360, 255, -1)
    return made


def write_set(
    root: Path,
    *,
    masks: list[str] | None = None,
    boxes: list[str] | None = None,
    classes: str = CLASSES,
) -> Path:
    """Three images, the last without any row; two masks, one of them of half the size."""
    for seed, id in enumerate((A, B, C)):
        noise = np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8)
        save(root / "train" / f"{id}.jpg", noise)
    save(root / "masks" / "train" / CAT_MASK, oval(12, 20))
    save(root / "masks" / "train" / DOG_MASK, oval(*SIZE))
    (root / "class-descriptions-boxable.csv").write_text(classes, "utf-8")
    rows = MASK_ROWS if masks is None else masks
    (root / "train-annotations-object-segmentation.csv").write_text("\n".join([MASKS, *rows, ""]))
    rows = BOX_ROWS if boxes is None else boxes
    (root / "train-annotations-bbox.csv").write_text("\n".join([BOXES, *rows, ""]))
    return root


def write(parts: Splits, folder: Path) -> Dataset:
    folder.mkdir(exist_ok=True)
    assert FORMAT.write is not None
    FORMAT.write(parts, folder, Options())
    dataset = opened(folder)
    for split in dataset.splits:
        dataset[split]
    refuse(dataset.problems)
    return dataset
