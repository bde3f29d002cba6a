"""A small set laid out like SBD, written by scipy as MATLAB would save it."""

from pathlib import Path

import numpy as np
import PIL.Image
import scipy.io
import scipy.sparse

from tests.data.formats.drawn_voc import Drawn, draw

SPLITS = {"train": ("2008_000051", "2008_000195"), "val": ("2008_000002",)}


def save_struct(path: Path, variable: str, **fields) -> None:
    """A MATLAB struct with these fields, packed, as published."""
    kinds = [(name, object) for name in fields]
    struct = np.empty((1, 1), kinds)
    for name, value in fields.items():
        struct[name][0, 0] = value
    scipy.io.savemat(path, {variable: struct}, do_compression=True)


def boundaries(labels: np.ndarray, count: int) -> np.ndarray:
    """A cell array of sparse matrices, one a class or object."""
    cells = np.empty((count, 1), object)
    for number in range(count):
        inside = labels == number + 1
        edge = inside & ~(np.roll(inside, 1, 0) & np.roll(inside, 1, 1))
        cells[number, 0] = scipy.sparse.csc_matrix(edge.astype(float))
    return cells


def write_sbd(root: Path) -> dict[str, Drawn]:
    """Write ``root/benchmark_RELEASE/dataset``; returns the truth (void is background) by name."""
    home = root / "benchmark_RELEASE" / "dataset"
    for folder in ("img", "cls", "inst"):
        (home / folder).mkdir(parents=True)
    drawn: dict[str, Drawn] = {}
    for split, names in SPLITS.items():
        for name in names:
            one = drawn[name] = draw(10 + len(drawn))
            one.labels[one.labels == 255] = 0
            one.objects[one.objects == 255] = 0
            PIL.Image.fromarray(one.image).save(home / "img" / f"{name}.jpg", quality=95)
            save_struct(
                home / "cls" / f"{name}.mat",
                "GTcls",
                Boundaries=boundaries(one.labels, 20),
                Segmentation=one.labels,
                CategoriesPresent=np.array([sorted(set(one.classes))], np.uint8),
            )
            save_struct(
                home / "inst" / f"{name}.mat",
                "GTinst",
                Segmentation=one.objects,
                Boundaries=boundaries(one.objects, len(one.classes)),
                Categories=np.array([one.classes], np.uint8).T,
            )
        (home / f"{split}.txt").write_text("".join(f"{name}\n" for name in names), "utf-8")
    return drawn
