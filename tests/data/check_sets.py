"""Drawn data sets for the linter's tests: clean ones, into which a test plants its fault."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from tests.drawn import discs
from vitrail.data.check import check_dataset
from vitrail.data.checks.finding import Finding
from vitrail.data.checks.report import Report
from vitrail.data.formats.base import Dataset
from vitrail.data.formats.index_masks import IndexMasks
from vitrail.data.sample import Instance, LabelSpace, Sample, SampleSource
from vitrail.result.masks import Masks

SPACE = LabelSpace(("background", "disc", "square"), background=0)
OBJECTS = LabelSpace(("disc", "square"))


class Memory:
    """Samples in a list."""

    def __init__(self, samples: Sequence[Sample], space: LabelSpace) -> None:
        self.samples, self.space = list(samples), space

    @property
    def ids(self) -> list[str]:
        return [sample.id for sample in self.samples]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


class Opener:
    """Hands out a source that is open already; picklable."""

    def __init__(self, source: SampleSource) -> None:
        self.source = source

    def __call__(self) -> SampleSource:
        return self.source


def dataset(root: Path, **splits: SampleSource) -> Dataset:
    """A data set of sources."""
    return Dataset(root, "drawn", "", {name: Opener(source) for name, source in splits.items()})


def photo(number: int, size: tuple[int, int] = (96, 128)) -> np.ndarray:
    """A picture unlike all others: soft blobs of colour with some texture, (H, W, 3) uint8."""
    rng = np.random.default_rng(1000 + number)
    coarse = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    soft = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC).astype(int)
    return np.clip(soft + rng.integers(-12, 13, (*size, 1)), 0, 255).astype(np.uint8)


def write_image(path: Path, pixels: np.ndarray, *parameters: int) -> Path:
    """RGB or grey pixels as the suffix says."""
    bgr = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    assert cv2.imwrite(str(path), np.ascontiguousarray(bgr), list(parameters))
    return path


def read(path: Path, flags: int = cv2.IMREAD_UNCHANGED) -> np.ndarray:
    """The pixels of a picture as OpenCV has them."""
    pixels = cv2.imread(str(path), flags)
    assert pixels is not None
    return pixels


def pairs(root: Path, split: str = "train", number: int = 6, seed: int = 0) -> IndexMasks:
    """A clean split of JPEG images and index masks under ``root/split``."""
    images, masks = root / split / "images", root / split / "masks"
    images.mkdir(parents=True)
    masks.mkdir()
    for index, (image, labels) in enumerate(discs(number, size=96, seed=seed)):
        mixed = photo(50 * seed + index, (96, 96)) // 2 + image // 2
        write_image(images / f"{split}_{index}.jpg", mixed)
        write_image(masks / f"{split}_{index}.png", labels)
    return IndexMasks(images, masks, SPACE)


def reopened(source: IndexMasks, space: LabelSpace = SPACE) -> IndexMasks:
    """The same folders once more, after files were added or taken away."""
    return IndexMasks(source.images[0].parent, source.mask_paths(0)[0].parent, space)


def objects(number: int = 6, seed: int = 0) -> list[Sample]:
    """Clean samples of objects: one outline and one stored mask each."""
    samples: list[Sample] = []
    for index in range(number):
        ring = np.array([[10.0, 12.0], [40.0, 14.0], [36.0, 50.0], [12.0, 44.0]]) + index
        mask = np.zeros((96, 128), bool)
        cv2.circle(mask.view(np.uint8), (80 + index, 60), 20, 1, -1)
        things = (
            Instance.from_polygons(1, [ring], (96, 128), id=f"{index}a"),
            Instance.from_masks(0, Masks.from_dense(mask[None]), id=f"{index}b"),
        )
        samples.append(Sample(f"o{index}", photo(seed + index), (96, 128), instances=things))
    return samples


def with_objects(*things: Instance) -> Memory:
    """Clean samples, the second of which has these objects as well."""
    samples = objects()
    one = samples[1]
    samples[1] = Sample(one.id, one.picture, one.size, instances=(*(one.instances or ()), *things))
    return Memory(samples, OBJECTS)


def check(source: SampleSource, root: Path = Path(), **options) -> Report:
    """The report on a set of one split."""
    return check_dataset(dataset(root, train=source), **options)


def kinds(report: Report) -> dict[str, int]:
    """How often each code was found."""
    counts: dict[str, int] = {}
    for (code, _), count in report.findings.counts.items():
        counts[code] = counts.get(code, 0) + count
    return counts


def only(report: Report, code: str) -> Finding:
    """The one finding of a report, which must be of this code."""
    assert kinds(report) == {code: 1}, [str(problem) for problem in report.problems]
    (finding,) = report.findings
    return finding


def planted(
    root: Path, plant: Callable[[IndexMasks], object], space: LabelSpace = SPACE, **options
) -> Report:
    """The report on a clean split of pairs, after a fault was planted into its files."""
    source = pairs(root)
    plant(source)
    return check(reopened(source, space), root, **options)
