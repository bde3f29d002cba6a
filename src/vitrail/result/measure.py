"""Measure what was found: size, place, shape and mean colour of each segment, as a table.

Shapes follow the definitions of ``skimage.measure.regionprops`` (and agree with it), but are
computed for all regions at once, from the runs of equal labels in each row: nothing here makes a
full frame for each region.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vitrail.errors import ParameterError
from vitrail.result.base import Result, check_image
from vitrail.result.edges import EdgeResult
from vitrail.result.instances import InstanceResult
from vitrail.result.regions import RegionResult
from vitrail.result.semantic import SemanticResult
from vitrail.result.table import Table

if TYPE_CHECKING:
    from vitrail.image import Image, ImageSource

__all__ = ["Table", "measure"]

_CHUNK = 1 << 20  # pixels worked on at a time where temporary arrays are wide

# Benkrid, Crookes & Benkrid (2000), as skimage.measure.perimeter has it: each border pixel counts
# by how its neighbours on the border lie, 2 for each beside it, 10 for each across a corner.
_NEIGHBOURS = (
    *((dy, dx, 2) for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1))),
    *((dy, dx, 10) for dy, dx in ((-1, -1), (-1, 1), (1, -1), (1, 1))),
)
_WEIGHTS = np.zeros(50)
_WEIGHTS[[5, 7, 15, 17, 25, 27]] = 1.0
_WEIGHTS[[21, 33]] = np.sqrt(2.0)
_WEIGHTS[[13, 23]] = (1.0 + np.sqrt(2.0)) / 2.0


def measure(
    result: Result,
    image: ImageSource | None = None,
    *,
    connected: bool = False,
    include_background: bool = False,
    pixel_size: float | None = None,
    unit: str = "um",
) -> Table:
    """One row for each class area, object or region of a result.

    Rows are those of ``result.segments()``, in its order: for a ``SemanticResult`` each class that
    occurs (``ignore`` never, background only if asked for), for an ``InstanceResult`` each object,
    for a ``RegionResult`` each region; for an ``EdgeResult`` those of its ``regions()``.

    Parameters
    ----------
    result : any of the four kinds
    image : image source, optional
        what to take mean colours from; default the image that was segmented. Without any, the
        table has no colour columns.
    connected : bool
        a row for each connected part (8-neighbours) of a class or region instead, largest first
        within its class. Objects of an ``InstanceResult`` are never split.
    include_background : bool
        also measure the background class of a ``SemanticResult``.
    pixel_size : float, optional
        the side of a pixel in ``unit``. Areas and lengths are then in that unit, and say so in
        their names: ``area_um2``, ``perimeter_um`` and so on. Places (centroid, box) stay in
        pixels, because they point into the image.
    unit : str
        name of the unit of ``pixel_size``.

    Returns
    -------
    Table
        with these columns:

        - ``id``: 1 and up; without ``connected`` and ``include_background`` the annotation id in
          ``to_coco()``
        - ``class_id``, ``class``: index and name; the label, for a region
        - ``score``: in [0, 1]; only of an ``InstanceResult``
        - ``area``: pixels
        - ``perimeter``: length in pixels of a line through the centres of the border pixels
          (those with a 4-neighbour outside the segment, or at the edge of the image), holes
          included; as ``skimage.measure.perimeter`` with ``neighborhood=4``
        - ``centroid_x``, ``centroid_y``: pixels; the centre of the first pixel is (0, 0)
        - ``x1``, ``y1``, ``x2``, ``y2``: tight box in pixels, x2 and y2 exclusive; for an
          ``InstanceResult`` the mask's box, not the detector's
        - ``equivalent_diameter``: of the circle with that area, pixels
        - ``major_axis``, ``minor_axis``: of the ellipse with the same second moments, pixels
        - ``eccentricity``: of that ellipse; 0 is a circle, towards 1 a line
        - ``orientation``: radians in [-pi/2, pi/2] from the y axis (downwards) to the major axis,
          positive towards +x
        - ``mean_r``, ``mean_g``, ``mean_b`` (or ``mean_gray``; or ``mean_1``, ``mean_2``, ... of
          other bands): the image's own values (0 to 255 if it is uint8), transparency ignored

        An empty mask has area and perimeter 0 and no other numbers.

    Raises
    ------
    ParameterError
        the image has another size than the result, or ``pixel_size`` is not positive.
    """
    if pixel_size is not None and not (np.isfinite(pixel_size) and pixel_size > 0):
        raise ParameterError(f"pixel_size={pixel_size}: expected a positive length, in {unit}")
    if isinstance(result, EdgeResult):
        result = result.regions()
    picture = _picture(result, image)
    pixels = None if picture is None else picture.pixels

    scores = None
    if isinstance(result, InstanceResult):
        shapes, colours = _of_masks(result, pixels)
        class_ids, scores = result.class_ids, result.scores
    elif isinstance(result, SemanticResult | RegionResult):
        shapes, colours, class_ids = _of_labels(result, pixels, connected, include_background)
    else:
        raise ParameterError(f"cannot measure a {type(result).__name__}; expected a vitrail result")

    names = np.array([result.classes[i] for i in class_ids], dtype=np.str_)
    columns: dict[str, np.ndarray] = {
        "id": np.arange(1, len(class_ids) + 1),
        "class_id": np.asarray(class_ids, np.int64),
        "class": names,
    }
    if scores is not None:
        columns["score"] = scores.astype(np.float64)
    columns |= shapes.columns(pixel_size, unit)
    if colours is not None:
        columns |= dict(zip(_colour_names(colours.shape[1]), colours.T, strict=True))
    return Table(columns)


def _picture(result: Result, image: ImageSource | None) -> Image | None:
    if image is None:
        return result.image
    from vitrail.image import read_image

    picture = read_image(image)
    check_image(picture, result.size)
    return picture


def _colour_names(bands: int) -> list[str]:
    known = {1: ["mean_gray"], 3: ["mean_r", "mean_g", "mean_b"]}
    return known.get(bands) or [f"mean_{band}" for band in range(1, bands + 1)]


@dataclass(frozen=True, slots=True)
class _Runs:
    """Horizontal runs of pixels of one segment each; all (R,) integers."""

    y: np.ndarray
    x: np.ndarray
    length: np.ndarray
    owner: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray) -> _Runs:
        """The runs of equal labels in each row of an (H, W) map; the owner is the label."""
        turns = np.ones(labels.shape, bool)
        np.not_equal(labels[:, 1:], labels[:, :-1], out=turns[:, 1:])
        starts = np.flatnonzero(turns)
        y, x = np.divmod(starts, labels.shape[1])
        length = np.diff(starts, append=labels.size)
        owner = labels.ravel()[starts]
        return cls(*(array.astype(np.int32) for array in (y, x, length, owner)))


@dataclass(frozen=True, slots=True)
class _Shapes:
    """What the table says about the shape of N segments, in pixels."""

    area: np.ndarray  # (N,) int64
    perimeter: np.ndarray  # (N,) float64
    centroid: np.ndarray  # (N, 2) float64 x, y
    box: np.ndarray  # (N, 4) int64 x1 y1 x2 y2
    covariance: np.ndarray  # (N, 3) float64 of x with x, y with y, x with y

    @classmethod
    def of(cls, runs: _Runs, perimeter: np.ndarray) -> _Shapes:
        """Moments and boxes of the segments 0 to N - 1 that the runs belong to."""
        count, owner = len(perimeter), runs.owner
        length = runs.length.astype(np.float64)
        middle = runs.x + (length - 1) / 2

        def total(values: np.ndarray) -> np.ndarray:
            return np.bincount(owner, values, minlength=count)

        area = total(length)
        some = np.where(area > 0, area, np.nan)
        centroid = (
            np.stack([total(length * middle), total(length * runs.y)], axis=1) / some[:, None]
        )
        # Second moments about the centroid: about the origin, small segments far from it would
        # lose their digits. n consecutive whole numbers have variance (n^2 - 1) / 12.
        dx, dy = middle - centroid[owner, 0], runs.y - centroid[owner, 1]
        spread = length * (length * length - 1) / 12
        moments = (
            total(length * dx * dx + spread),
            total(length * dy * dy),
            total(length * dx * dy),
        )
        box = np.zeros((count, 4), np.int64)
        box[:, :2] = np.iinfo(np.int32).max
        np.minimum.at(box[:, 0], owner, runs.x)
        np.minimum.at(box[:, 1], owner, runs.y)
        np.maximum.at(box[:, 2], owner, runs.x + runs.length)
        np.maximum.at(box[:, 3], owner, runs.y + 1)
        box[area == 0] = 0
        return cls(
            np.rint(area).astype(np.int64),
            perimeter,
            centroid,
            box,
            np.stack(moments, axis=1) / some[:, None],
        )

    def __getitem__(self, order: np.ndarray) -> _Shapes:
        return _Shapes(
            self.area[order],
            self.perimeter[order],
            self.centroid[order],
            self.box[order],
            self.covariance[order],
        )

    def columns(self, pixel_size: float | None, unit: str) -> dict[str, np.ndarray]:
        """The table's columns; lengths scaled and named where a pixel size is known."""
        xx, yy, xy = self.covariance.T
        mean, root = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
        large, small = mean + root, np.maximum(mean - root, 0.0)
        small[small < 1e-14 * large] = 0.0  # a line: what is left is rounding
        with np.errstate(invalid="ignore"):
            ratio = np.where(large > 0, small / large, np.where(np.isnan(large), np.nan, 1.0))
        angle = 0.5 * np.arctan2(2 * xy, yy - xx)
        # without a direction (a disc, a square, one pixel), the convention of scikit-image
        angle[(xy == 0) & (xx == yy)] = -np.pi / 4
        side = 1.0 if pixel_size is None else float(pixel_size)
        suffix = "" if pixel_size is None else f"_{unit}"
        diameter = np.where(self.area > 0, np.sqrt(4 * self.area / np.pi), np.nan)
        return {
            f"area{suffix}{'2' if suffix else ''}": self.area
            if not suffix
            else self.area * side**2,
            f"perimeter{suffix}": self.perimeter * side,
            "centroid_x": self.centroid[:, 0],
            "centroid_y": self.centroid[:, 1],
            **{name: self.box[:, i] for i, name in enumerate(("x1", "y1", "x2", "y2"))},
            f"equivalent_diameter{suffix}": diameter * side,
            f"major_axis{suffix}": 4 * np.sqrt(large) * side,
            f"minor_axis{suffix}": 4 * np.sqrt(small) * side,
            "eccentricity": np.sqrt(1 - ratio),
            "orientation": angle,
        }


def _of_labels(
    result: SemanticResult | RegionResult,
    pixels: np.ndarray | None,
    connected: bool,
    include_background: bool,
) -> tuple[_Shapes, np.ndarray | None, np.ndarray]:
    """Shapes, mean colours and class ids of the segments of a label map."""
    labels = result.labels
    left_out: set[int | None] = set()
    if isinstance(result, SemanticResult):
        left_out = {result.ignore} if include_background else {result.ignore, result.background}
    if connected:
        from skimage import measure as ski_measure

        # +1 because no class may be taken for scikit-image's background
        parts = ski_measure.label(labels.astype(np.int32) + 1, background=0, connectivity=2)
        parts = np.asarray(parts, np.int32) - 1
    else:
        parts = labels.astype(np.int32, copy=False)
    count = int(parts.max()) + 1
    runs = _Runs.of(parts)
    shapes = _Shapes.of(runs, _perimeters(parts, count))
    colours = None if pixels is None else _mean_colours(parts, pixels, shapes.area)

    class_ids = np.arange(count)
    if connected:  # a part's class is that of any of its runs
        class_ids[runs.owner] = labels[runs.y, runs.x]
    kept = (shapes.area > 0) & ~np.isin(
        class_ids, [label for label in left_out if label is not None]
    )
    order = np.flatnonzero(kept)
    if connected:
        order = order[np.lexsort((-shapes.area[order], class_ids[order]))]
    return shapes[order], None if colours is None else colours[order], class_ids[order]


def _of_masks(
    result: InstanceResult, pixels: np.ndarray | None
) -> tuple[_Shapes, np.ndarray | None]:
    """Shapes and mean colours of objects, which may overlap, from their crops."""
    count = len(result)
    perimeter = np.zeros(count)
    colours = None if pixels is None else np.full((count, pixels.shape[2]), np.nan)
    found: list[np.ndarray] = [np.zeros((4, 0), np.int32)]
    for i in range(count):
        y, x, crop = result.masks.crop(i)
        if not crop.size:
            continue
        labels = crop.view(np.uint8)
        runs = _Runs.of(labels)
        inside = runs.owner == 1
        owner = np.full(np.count_nonzero(inside), i, np.int32)
        found.append(np.stack([runs.y[inside] + y, runs.x[inside] + x, runs.length[inside], owner]))
        perimeter[i] = _perimeters(labels, 2)[1]
        if colours is not None and pixels is not None:
            window = pixels[y : y + crop.shape[0], x : x + crop.shape[1]]
            colours[i] = window[crop].mean(axis=0, dtype=np.float64)
    return _Shapes.of(_Runs(*np.concatenate(found, axis=1)), perimeter), colours


def _perimeters(labels: np.ndarray, count: int) -> np.ndarray:
    """Perimeter of each label 0 to ``count - 1`` of an (H, W) map, (count,) float64 pixels."""
    height, width = labels.shape
    # a rim of one pixel, of no label, spares every neighbour its check against the frame
    padded = np.full((height + 2, width + 2), -1, np.int32)
    padded[1:-1, 1:-1] = labels
    border = np.zeros(padded.shape, bool)
    inner = border[1:-1, 1:-1]
    down, right = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    inner[1:] |= down
    inner[:-1] |= down
    inner[:, 1:] |= right
    inner[:, :-1] |= right
    inner[[0, -1]] = True
    inner[:, [0, -1]] = True

    owners, on_border = padded.ravel(), border.ravel()
    places = np.flatnonzero(on_border)
    totals = np.zeros(count)
    for start in range(0, places.size, _CHUNK):
        at = places[start : start + _CHUNK]
        own = owners[at]
        code = np.ones(at.size, np.uint8)
        for dy, dx, weight in _NEIGHBOURS:
            near = at + (dy * (width + 2) + dx)
            code += (on_border[near] & (owners[near] == own)) * np.uint8(weight)
        totals += np.bincount(own, _WEIGHTS[code], minlength=count)
    return totals


def _mean_colours(labels: np.ndarray, pixels: np.ndarray, area: np.ndarray) -> np.ndarray:
    """Mean of each band over each label, (N, C) float64 in the units of the pixels."""
    bands = pixels.shape[2]
    totals = np.zeros((len(area), bands))
    rows = max(1, _CHUNK // labels.shape[1])
    for top in range(0, labels.shape[0], rows):
        owners = labels[top : top + rows].ravel()
        strip = pixels[top : top + rows].reshape(-1, bands)
        for band in range(bands):
            totals[:, band] += np.bincount(owners, strip[:, band], minlength=len(area))
    return totals / np.where(area > 0, area, 1)[:, None]
