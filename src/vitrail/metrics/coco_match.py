"""COCO's matching of one image: overlaps of same-class pairs, then greedy matching by score.

The rules are those of ``pycocotools.cocoeval.COCOeval.evaluateImg`` (https://github.com/
cocodataset/cocoapi, simplified BSD licence); this is an own implementation. What makes it fast:
pairs whose boxes and areas already rule out the lowest threshold never have their pixels compared,
and a detection and an object that have only each other are matched without a loop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vitrail.errors import DataError
from vitrail.result.masks import Masks


@dataclass(frozen=True, eq=False)
class CocoObjects:
    """The objects of one image: its truth, or with ``scores`` what was detected.

    Parameters
    ----------
    class_ids : (N,) integer
    boxes : (N, 4) x1 y1 x2 y2 in pixel edges; needed to score boxes
    masks : N masks; needed to score masks
    scores : (N,) of detections; None for the truth
    crowd : (N,) bool, of the truth: a group that may swallow detections; none by default
    areas : (N,) in pixels, for the size ranges. Default: the truth's masks where there are any,
        otherwise its boxes; of detections, what is compared. COCO's files carry an ``area`` for
        each annotation; pass it to get what pycocotools gets.

    Raises
    ------
    DataError
        lengths that differ, neither boxes nor masks, or values that are not finite.
    """

    class_ids: np.ndarray
    boxes: np.ndarray | None = None
    masks: Masks | None = None
    scores: np.ndarray | None = None
    crowd: np.ndarray | None = None
    areas: np.ndarray | None = None

    def __post_init__(self) -> None:
        class_ids = np.asarray(self.class_ids, np.int64).reshape(-1)
        count = len(class_ids)
        object.__setattr__(self, "class_ids", class_ids)
        if self.boxes is None and self.masks is None:
            raise DataError("the objects have neither boxes nor masks; pass one of them")
        if self.boxes is not None:
            boxes = np.asarray(self.boxes, np.float64).reshape(-1, 4)
            object.__setattr__(self, "boxes", boxes)
        for name, kind in (("scores", np.float64), ("crowd", bool), ("areas", np.float64)):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, np.asarray(value, kind).reshape(-1))
        for name in ("boxes", "masks", "scores", "crowd", "areas"):
            value = getattr(self, name)
            if value is not None and len(value) != count:
                raise DataError(f"got {count} class ids and {len(value)} {name}, expected as many")
            if isinstance(value, np.ndarray) and not np.isfinite(value).all():
                raise DataError(f"{name} hold a value that is not finite")

    def __len__(self) -> int:
        return len(self.class_ids)

    def area(self, *, of_boxes: bool = False) -> np.ndarray:
        """(N,) float64, pixels: as given, or of the masks, or (where asked, or without) boxes."""
        if self.areas is not None:
            return self.areas
        if self.masks is not None and not (of_boxes and self.boxes is not None):
            return self.masks.areas().astype(np.float64)
        assert self.boxes is not None
        return _box_areas(self.boxes)

    def is_crowd(self) -> np.ndarray:
        """(N,) bool."""
        return np.zeros(len(self), bool) if self.crowd is None else self.crowd


def box_overlaps(found: np.ndarray, truth: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """IoU of ``(D, 4)`` with ``(G, 4)`` boxes; for a crowd, the share of the detection inside."""
    inside = _box_intersections(found, truth)
    own = _box_areas(found)[:, None]
    union = np.where(crowd, own, own + _box_areas(truth) - inside)
    return np.divide(inside, union, out=np.zeros_like(inside), where=inside > 0)


def mask_overlaps(
    found: Masks, truth: Masks, crowd: np.ndarray, wanted: np.ndarray, least: float
) -> np.ndarray:
    """IoU of D with G masks where ``wanted`` (D, G); 0 elsewhere and where below ``least``."""
    if found.size != truth.size:
        raise DataError(f"detected masks are for {found.size} pixels, the truth for {truth.size}")
    inside = _box_intersections(found.boxes().astype(float), truth.boxes().astype(float))
    own, other = found.areas().astype(float)[:, None], truth.areas().astype(float)[None]
    best = np.minimum(np.minimum(own, other), inside)
    union = np.where(crowd, own, own + other - best)
    possible = wanted & (best > 0) & (best >= least * union)
    overlaps = np.zeros(wanted.shape)
    crops: dict[tuple[bool, int], tuple[int, int, np.ndarray]] = {}
    for d, g in np.argwhere(possible).tolist():
        pair: list[tuple[int, int, np.ndarray]] = []
        for is_truth, masks, i in ((False, found, d), (True, truth, g)):
            crop = crops.get((is_truth, i))
            if crop is None:
                crop = crops[is_truth, i] = masks.crop(i)
            pair.append(crop)
        shared = intersection(*pair)
        whole = own[d, 0] if crowd[g] else own[d, 0] + other[0, g] - shared
        overlaps[d, g] = shared / whole
    return overlaps


def intersection(one: tuple[int, int, np.ndarray], two: tuple[int, int, np.ndarray]) -> int:
    """Pixels that two ``(y0, x0, crop)`` masks share."""
    (ya, xa, a), (yb, xb, b) = one, two
    top, left = max(ya, yb), max(xa, xb)
    bottom, right = min(ya + a.shape[0], yb + b.shape[0]), min(xa + a.shape[1], xb + b.shape[1])
    if bottom <= top or right <= left:
        return 0
    shared = (
        a[top - ya : bottom - ya, left - xa : right - xa]
        & b[top - yb : bottom - yb, left - xb : right - xb]
    )
    return int(np.count_nonzero(shared))


def match(
    overlaps: np.ndarray, crowd: np.ndarray, ignored: np.ndarray, thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which detections find an object, and which find one that does not count.

    Parameters
    ----------
    overlaps : (D, G), detections of each class by falling score; 0 between classes
    crowd : (G,) bool
    ignored : (A, G) bool, objects outside each size range, and crowds
    thresholds : (T,) of IoU

    Returns
    -------
    matched, of an ignored object : (D, A, T) bool each
    """
    least = np.minimum(thresholds, 1 - 1e-10)  # pycocotools' tolerance at an IoU of 1
    shape = (len(overlaps), len(ignored), len(thresholds))
    matched, void = np.zeros(shape, bool), np.zeros(shape, bool)
    near = overlaps >= least.min()
    contested = near & ~crowd & (np.count_nonzero(near, axis=0) > 1)
    loose = contested.any(axis=1) | (np.count_nonzero(near, axis=1) > 1)
    d, g = np.nonzero(near & ~loose[:, None])
    matched[d] = (overlaps[d, g][:, None] >= least)[:, None, :]
    void[d] = matched[d] & ignored.T[g][:, :, None]
    levels = least.tolist()
    # An object that several detections want is taken by the first; each range and threshold has
    # its own course, as what is ignored differs.
    taken: set[tuple[int, int, int]] = set()
    for i in np.flatnonzero(loose).tolist():
        rivals = np.flatnonzero(near[i])
        scores = overlaps[i, rivals].tolist()
        for a in range(shape[1]):
            order = np.argsort(ignored[a, rivals], kind="stable").tolist()
            counted = ignored[a, rivals].tolist()
            for t, level in enumerate(levels):
                best, chosen = level, -1
                for k in order:
                    j = int(rivals[k])
                    if (a, t, j) in taken and not crowd[j]:
                        continue
                    if chosen >= 0 and not counted[chosen] and counted[k]:
                        break
                    if scores[k] >= best:
                        best, chosen = scores[k], k
                if chosen >= 0:
                    taken.add((a, t, int(rivals[chosen])))
                    matched[i, a, t] = True
                    void[i, a, t] = counted[chosen]
    return matched, void


def _box_areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _box_intersections(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    width = np.minimum(a[:, None, 2], b[:, 2]) - np.maximum(a[:, None, 0], b[:, 0])
    height = np.minimum(a[:, None, 3], b[:, 3]) - np.maximum(a[:, None, 1], b[:, 1])
    return np.maximum(width, 0) * np.maximum(height, 0)
