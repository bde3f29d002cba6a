"""Sets of plain folders drawn by code, sources at random, and comparisons, for their tests."""

import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.data.listed import Listed
from vitrail.data.formats.base import Dataset, Format, refuse
from vitrail.data.sample import Instance, LabelSpace, Sample, SampleSource
from vitrail.result.masks import Masks

quick = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def save(path: Path, pixels: np.ndarray) -> Path:
    """Write ``(H, W)`` or RGB pixels in the format of the suffix, folders and all; by OpenCV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bgr = pixels[..., ::-1] if pixels.ndim == 3 and pixels.shape[2] == 3 else pixels
    done, data = cv2.imencode(path.suffix, np.ascontiguousarray(bgr))
    assert done
    path.write_bytes(data.tobytes())
    return path


def photo(path: Path, height: int = 12, width: int = 16, seed: int = 0) -> Path:
    """Write a picture of noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return save(path, noise)


def pairs(root: Path, masks: Mapping[str, np.ndarray], images="images", folder="masks") -> Path:
    """Write ``images/NAME.jpg`` and ``masks/NAME.png``."""
    for seed, (name, mask) in enumerate(masks.items()):
        photo(root / images / f"{name}.jpg", *mask.shape[:2], seed=seed)
        save(root / folder / f"{name}.png", mask)
    return root


def opened(format: Format, root: Path, **options: object) -> Dataset:
    """Open a set as ``open_dataset`` does, every split, and refuse one with errors."""
    dataset = format.open(root, format.options.model_validate(options))
    for split in dataset.splits:
        dataset[split]
    refuse(dataset.problems)
    return dataset


def gone_around(format: Format, root: Path, **options: object) -> Dataset:
    """Open every split of a set; its faults are left in ``problems``."""
    dataset = format.open(root, format.options.model_validate(options))
    for split in dataset.splits:
        dataset[split]
    return dataset


def written(format: Format, splits: Mapping[str, SampleSource], folder: Path) -> Dataset:
    """Write a set into a folder that is made, and open it by the format's own reader."""
    folder.mkdir()
    assert format.write is not None
    format.write(splits, folder, format.write_options())
    assert format.recognise(folder), "what is written must be recognised"
    return opened(format, folder)


# Faulty files -----------------------------------------------------------------------------------


def truncate(path: Path, keep: float = 0.6) -> None:
    """Cut a file short."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])


def claim(path: Path, width: int, height: int) -> None:
    """Write a PNG of a few bytes whose header claims a size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + crc

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    body = header + chunk(b"IDAT", zlib.compress(bytes(1 << 16))) + chunk(b"IEND", b"")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def as_palette(path: Path, indices: np.ndarray, colours: Sequence[tuple[int, int, int]]) -> Path:
    """Write a palette picture by Pillow, in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = PIL.Image.fromarray(indices.astype(np.uint8), "P")
    picture.putpalette([value for colour in colours for value in colour])
    picture.save(path)
    return path


# Sources at random ------------------------------------------------------------------------------

NAMES = ("background", "cat", "traffic light", "straße", "a/b", "x,y", "007")


def spaces(least: int = 1) -> st.SearchStrategy[LabelSpace]:
    """Classes with or without background, own ids and own colours."""

    @st.composite
    def made(draw: st.DrawFn) -> LabelSpace:
        names = draw(st.permutations(NAMES))[: draw(st.integers(least, len(NAMES)))]
        count = len(names)
        colour = st.tuples(*[st.integers(0, 255)] * 3)
        return LabelSpace(
            tuple(names),
            draw(st.one_of(st.none(), st.integers(0, count - 1))),
            draw(st.sampled_from((255, count, 254))),
            draw(st.one_of(st.none(), ids(count))),
            draw(st.one_of(st.none(), st.lists(colour, min_size=count, max_size=count).map(tuple))),
        )

    def ids(count: int) -> st.SearchStrategy[tuple[int, ...]]:
        number = st.integers(0, 10**6)
        return st.lists(number, min_size=count, max_size=count, unique=True).map(tuple)

    return made()


SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9))


@st.composite
def label_sets(draw: st.DrawFn, space: LabelSpace) -> dict[str, Listed]:
    """Splits of samples with label maps; ids may hold slashes and other letters."""
    values = st.sampled_from([*range(len(space.classes)), space.ignore])
    names = draw(st.sampled_from((("all",), ("train", "val"), ("val",), ("train", "test", "odd"))))
    splits: dict[str, Listed] = {}
    for split in names:
        samples = []
        for id in draw(st.lists(st.sampled_from(IDS), min_size=1, max_size=3, unique=True)):
            size = draw(SIZES)
            labels = draw(arrays.arrays(np.uint8, size, elements=values))
            samples.append(Sample(id, noise(size, len(samples)), size, labels))
        splits[split] = Listed(sorted(samples, key=lambda one: one.id), space)
    return splits


IDS = ("a", "b_mask", "city/a", "city/deep/b", "train/x", "ö 1", "v1.2", "z")


@st.composite
def object_sets(draw: st.DrawFn, space: LabelSpace, overlap: bool) -> dict[str, Listed]:
    """Splits of samples with objects."""
    splits: dict[str, Listed] = {}
    for split in draw(st.sampled_from((("all",), ("train", "val")))):
        samples = []
        for id in draw(st.lists(st.sampled_from(IDS), min_size=1, max_size=3, unique=True)):
            size = draw(SIZES)
            taken = np.zeros(size, bool)
            found = []
            for number in range(draw(st.integers(0, 4))):
                dense = draw(arrays.arrays(bool, size))
                dense = dense if overlap else dense & ~taken
                if not dense.any():
                    continue
                taken |= dense
                more = {"id": f"n{number}", "crowd": draw(st.booleans())} if not overlap else {}
                class_id = draw(st.integers(0, len(space.classes) - 1))
                stored = Masks.from_dense(dense[None])
                found.append(Instance.from_masks(class_id, stored, **more))
            samples.append(Sample(id, noise(size, len(samples)), size, instances=tuple(found)))
        splits[split] = Listed(sorted(samples, key=lambda one: one.id), space)
    return splits


def noise(size: tuple[int, int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def same_labels(back: Dataset, splits: Mapping[str, Listed]) -> None:
    """Every split, id, picture and label map came back as it was."""
    assert set(back.splits) == set(splits)
    for split, source in splits.items():
        assert list(back[split].ids) == list(source.ids)
        for index in range(len(source)):
            old, new = source[index], back[split][index]
            assert np.array_equal(new.image, old.image)
            assert new.labels is not None
            assert np.array_equal(new.labels, old.labels)
