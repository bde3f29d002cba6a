"""Methods that are told where to look: GrabCut, region growing and the random walker.

Coordinates are pixels of the original image, x to the right and y down. The array functions return
(H, W) labels; the methods return a ``SemanticResult`` whose labels are the numbers of the seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import cv2
import numpy as np
from pydantic import BeforeValidator, Field

from vitrail.classical.method import Method
from vitrail.classical.prompts import (
    check_box,
    check_points,
    is_picture,
    parse_box,
    parse_points,
    read_markers,
)
from vitrail.classical.walker import random_walker
from vitrail.errors import ParameterError
from vitrail.image import Image
from vitrail.result import SemanticResult

Connectivity = Literal[4, 8]
Points = tuple[tuple[int, int], ...]

_MOST_LABELS = 255  # of the random walker, which solves a linear system for each


def grabcut(
    rgb: np.ndarray,
    *,
    box: Sequence[float] | None = None,
    mask: np.ndarray | None = None,
    iterations: int = 5,
    seed: int = 0,
) -> np.ndarray:
    """Cut an object out of its background by colour models and a graph cut (Rother et al., 2004).

    ``cv2.grabCut`` after ``cv2.setRNGSeed(seed)``: the same input gives the same answer.

    Parameters
    ----------
    rgb : (H, W, 3) uint8
    box : x1, y1, x2, y2, optional
        pixels; everything outside is background, what is inside is to be decided.
    mask : (H, W) integers, optional
        What is known of each pixel. A mask with a value above 3 is a picture: 0 is background,
        255 is object, and between them 1 to 127 are probably background, 128 to 254 probably
        object. Otherwise the values are OpenCV's: 0 background, 1 object, 2 probably background,
        3 probably object. With a box too, what lies outside it is background.
    iterations : int
        rounds of fitting the colours and cutting, at least 1.
    seed : int
        of the random start of the colour models.

    Returns
    -------
    (H, W) bool
        True on the object.

    Raises
    ------
    ParameterError
        neither box nor mask; a box that leaves the image or holds no pixel; a prompt that leaves
        no pixel for the object or for the background, or nothing to decide.

    Notes
    -----
    With 5 iterations about 9 s and 200 MB for each megapixel.
    """
    known = _trimap(rgb.shape[:2], box, mask)
    models = np.zeros((1, 65)), np.zeros((1, 65))  # cv2 fills them, and insists on this shape
    cv2.setRNGSeed(seed)
    known, _, _ = cv2.grabCut(
        np.ascontiguousarray(rgb), known, (0, 0, 0, 0), *models, iterations, cv2.GC_INIT_WITH_MASK
    )
    return (known == cv2.GC_FGD) | (known == cv2.GC_PR_FGD)


def _trimap(
    size: tuple[int, int], box: Sequence[float] | None, mask: np.ndarray | None
) -> np.ndarray:
    """What is known beforehand, in the four values of ``cv2.grabCut``; (H, W) uint8."""
    if box is None and mask is None:
        raise ParameterError(
            "grabcut needs a prompt, a box around the object or a mask. In Python: "
            'vitrail.load("grabcut", box=[x1, y1, x2, y2]); on the command line: '
            "--set box=x1,y1,x2,y2, or --set mask=FILE.png with 0 for background, 255 for object "
            "and 128 for unknown"
        )
    if mask is None:
        known = np.full(size, cv2.GC_PR_FGD, np.uint8)
    else:
        mask = read_markers(mask, size, "mask")
        if mask.max() > 255:
            raise ParameterError(f"mask holds {mask.max()}; expected values from 0 to 255")
        if mask.max() > cv2.GC_PR_FGD:
            codes = np.full(256, cv2.GC_PR_FGD, np.uint8)
            codes[:128] = cv2.GC_PR_BGD
            codes[[0, 255]] = cv2.GC_BGD, cv2.GC_FGD
            known = codes[mask]
        else:
            known = mask.astype(np.uint8)
    if box is not None:
        x1, y1, x2, y2 = check_box(parse_box(box), size)
        inside = known[y1:y2, x1:x2].copy()
        known[:] = cv2.GC_BGD
        known[y1:y2, x1:x2] = inside
    counts = np.bincount(known.ravel(), minlength=4)
    height, width = size
    where = f"the image is {width} x {height} px"
    if not counts[cv2.GC_BGD] + counts[cv2.GC_PR_BGD]:
        raise ParameterError(
            f"the prompt leaves no background to learn from; {where}: draw the box smaller than "
            "that, or mark some background (0) in the mask"
        )
    if not counts[cv2.GC_FGD] + counts[cv2.GC_PR_FGD]:
        raise ParameterError(
            f"the prompt leaves no pixel for the object; {where}: mark some object (255), or "
            "probable object (128), in the mask"
        )
    if not counts[cv2.GC_PR_BGD] + counts[cv2.GC_PR_FGD]:
        raise ParameterError(
            "the mask leaves nothing to decide: every pixel in it is sure; mark what is unknown "
            "with 128 (0 is background, 255 is object)"
        )
    return known


def region_growing(
    pixels: np.ndarray,
    seeds: np.ndarray,
    *,
    tolerance: float = 16.0,
    connectivity: Connectivity = 4,
) -> np.ndarray:
    """Grow a region from each seed over connected pixels of nearly its colour.

    A pixel is near when its colour is at most ``tolerance`` from the seed's own. For one seed on
    one band this is ``skimage.segmentation.flood(image, (y, x), tolerance=tolerance)``.

    Parameters
    ----------
    pixels : (H, W, C) or (H, W) array
        uint8, uint16 or float32.
    seeds : (N, 2) integers
        x, y of each seed, inside the image.
    tolerance : float
        Euclidean distance over all bands, in the units of the pixels (0 to 255 for uint8).
    connectivity : 4 or 8
        which neighbours a region reaches.

    Returns
    -------
    (H, W) int32
        0 where no seed reaches, else the number of the seed, from 1. A pixel that several reach
        goes to the one whose colour is nearest, and of equals to the earliest.

    Raises
    ------
    ParameterError
        a seed lies outside the image.
    """
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    height, width = pixels.shape[:2]
    check_points(seeds, (height, width), "seeds")
    labels = np.zeros((height, width), np.int32)
    best = np.full((height, width), np.inf)
    for number, (x, y) in enumerate(seeds.tolist(), start=1):
        distance = _distance(pixels, pixels[y, x])
        reached = _flood(distance <= tolerance, (x, y), connectivity)
        nearer = reached & (distance < best)
        labels[nearer] = number
        best[nearer] = distance[nearer]
    return labels


def _distance(pixels: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Euclidean distance of each pixel's colour, (H, W) float64: exact where there is one band."""
    squares = np.zeros(pixels.shape[:2])
    for band in range(pixels.shape[2]):
        difference = pixels[..., band].astype(np.float64)
        difference -= float(colour[band])
        if pixels.shape[2] == 1:
            return np.abs(difference, out=difference)
        squares += np.square(difference, out=difference)
    return np.sqrt(squares, out=squares)


def _flood(near: np.ndarray, seed: tuple[int, int], connectivity: Connectivity) -> np.ndarray:
    """The connected part of a mask that holds the seed (x, y); (H, W) bool."""
    canvas = near.astype(np.uint8)
    cv2.floodFill(canvas, None, seed, (2,), flags=connectivity)  # type: ignore[call-overload]
    return canvas == 2


class GrabCut(Method):
    """Cut out the object in a box, or one roughly marked in a mask."""

    name: ClassVar[str] = "grabcut"
    summary: ClassVar[str] = "the object in a box, or roughly marked in a mask; needs a prompt"

    box: Annotated[Any, BeforeValidator(lambda v: None if v is None else parse_box(v))] = Field(
        default=None, description="[x1, y1, x2, y2] in pixels; the object lies inside"
    )
    mask: Any = Field(
        default=None,
        description="picture file or array of the image's size: 0 background, 255 object, "
        "128 unknown",
    )
    iterations: int = Field(
        default=5, ge=1, le=100, description="rounds of fitting colours and cutting"
    )
    seed: int = Field(
        default=0, ge=0, lt=2**31, description="of the random start; same seed, same answer"
    )

    def __call__(self, image: Image) -> SemanticResult:
        """SemanticResult of the classes background (0) and object (1)."""
        mask = self.mask if self.mask is None else read_markers(self.mask, image.size, "mask")
        found = grabcut(
            image.rgb(), box=self.box, mask=mask, iterations=self.iterations, seed=self.seed
        )
        return SemanticResult(
            found.astype(np.uint8), ("background", "object"), background=0, image=image
        )


def _points(value: object) -> Points | None:
    if value is None:
        return None
    return tuple((int(x), int(y)) for x, y in parse_points(value, "seeds"))


class RegionGrowing(Method):
    """Grow a region from each seed over connected pixels of nearly its colour."""

    name: ClassVar[str] = "region-growing"
    summary: ClassVar[str] = "the connected area of similar colour around each point; needs seeds"

    seeds: Annotated[Any, BeforeValidator(_points)] = Field(
        default=None,
        description='[[x, y], ...] in pixels, or "x,y;x,y"; region 1 grows from the first',
    )
    tolerance: float = Field(
        default=16.0,
        ge=0,
        allow_inf_nan=False,
        description="Euclidean distance from the seed's colour, in units of the image (0 to 255)",
    )
    connectivity: Connectivity = Field(
        default=4, description="neighbours that a region reaches, 4 or 8"
    )

    def __call__(self, image: Image) -> SemanticResult:
        """SemanticResult of the classes background (0: not reached), region 1, region 2, ..."""
        if self.seeds is None:
            raise ParameterError(
                "region-growing needs a prompt, the points to grow from. In Python: "
                'vitrail.load("region-growing", seeds=[[x, y], ...]); on the command line: '
                '--set "seeds=x,y;x,y"'
            )
        labels = region_growing(
            image.pixels,
            np.array(self.seeds, np.int64),
            tolerance=self.tolerance,
            connectivity=self.connectivity,
        )
        names = ("background", *(f"region {i}" for i in range(1, len(self.seeds) + 1)))
        return SemanticResult(labels, names, background=0, image=image)


class RandomWalker(Method):
    """Give every pixel to the label whose seeds a random walker from it is likeliest to reach."""

    name: ClassVar[str] = "random-walker"
    summary: ClassVar[str] = "spreads labelled seeds over the image up to its edges; needs seeds"

    seeds: Any = Field(
        default=None,
        description='[[x, y, label], ...] in pixels, or "x,y,label;x,y,label", or a picture file '
        "or array: 0 unknown, else the label; at least two labels, 1 to 255",
    )
    radius: int = Field(
        default=3,
        ge=0,
        le=1000,
        description="points stand for the disc of this radius around them, pixels",
    )
    beta: float = Field(
        default=130.0, gt=0, allow_inf_nan=False, description="how hard an edge is to cross"
    )
    tol: float = Field(
        default=1e-5, gt=0, lt=1, description="relative residual of the linear solver"
    )
    classes: list[str] | None = Field(
        default=None, description='names of labels 1, 2, ...; default "label 1", "label 2", ...'
    )
    background: int = Field(
        default=0,
        ge=0,
        le=_MOST_LABELS,
        description="the label that is background; 0: none of them",
    )

    def __call__(self, image: Image) -> SemanticResult:
        """SemanticResult whose labels are those of the seeds; class 0, "none", never occurs."""
        markers = self._markers(image.size)
        most = int(markers.max())
        names = self.classes or [f"label {label}" for label in range(1, most + 1)]
        if len(names) < most or self.background > len(names):
            raise ParameterError(
                f"random-walker has {len(names)} class names ({', '.join(names)}), but seeds up to "
                f"label {most} and background={self.background}; expected a name for each label"
            )
        labels = random_walker(image.pixels, markers, beta=self.beta, tol=self.tol)
        return SemanticResult(labels, ("none", *names), background=self.background, image=image)

    def _markers(self, size: tuple[int, int]) -> np.ndarray:
        if self.seeds is None:
            raise ParameterError(
                "random-walker needs a prompt, labelled points or a picture of labels. In Python: "
                'vitrail.load("random-walker", seeds=[[x, y, label], ...]); on the command line: '
                '--set "seeds=x,y,1;x,y,2", or --set seeds=FILE.png with 0 for unknown'
            )
        if is_picture(self.seeds):
            markers = read_markers(self.seeds, size, "seeds")
        else:
            points = check_points(parse_points(self.seeds, "seeds", labelled=True), size, "seeds")
            markers = np.zeros(size, np.int32)
            if points[:, 2].max() <= _MOST_LABELS:
                for x, y, label in points.tolist():
                    cv2.circle(markers, (x, y), self.radius, label, cv2.FILLED)
            # the points themselves come last: no disc may cover another label's only seed
            markers[points[:, 1], points[:, 0]] = points[:, 2]
        if markers.max() > _MOST_LABELS:
            raise ParameterError(
                f"seeds hold the label {markers.max()}; expected 1 to {_MOST_LABELS}"
            )
        return markers
