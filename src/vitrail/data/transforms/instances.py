"""Training crops with separate objects.

The masks of a crop are kept as a few planes of object numbers: as many as objects lie over each
other at most, mostly one. Moving, cutting and sending a plane between processes costs the same
for three hundred objects as for one, and loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.data.transforms.framing import Size
from vitrail.data.transforms.geometry import Grid, Plan
from vitrail.data.transforms.reading import read_pixels
from vitrail.errors import DataError
from vitrail.result.masks import box_crop

MAX_OBJECTS = 13_000
"""Most objects of one image: five scenes, as mosaic and copy-paste join them, fit into 16 bits."""


class InstanceExample(NamedTuple):
    """One crop and its N objects, in the order of the data set, pasted ones last."""

    image: Tensor
    """``(3, h, w)`` uint8, RGB."""
    boxes: Tensor
    """``(N, 4)`` float32, x1 y1 x2 y2 in px: the extent of each mask, x2 and y2 exclusive."""
    class_ids: Tensor
    """``(N,)`` int64."""
    crowd: Tensor
    """``(N,)`` bool: a region of many objects that nobody separated."""
    outlined: Tensor
    """``(N,)`` bool: False where only the box is annotated; the mask is then that box."""
    planes: Tensor
    """``(K, h, w)`` int32: object n is where ``planes[plane[n]] == n + 1``; 0 is no object."""
    plane: Tensor
    """``(N,)`` int64."""

    @property
    def masks(self) -> Tensor:
        """``(N, h, w)`` bool, one full frame an object."""
        return self.masks_of(torch.arange(len(self.boxes), device=self.planes.device))

    def masks_of(self, objects: Tensor) -> Tensor:
        """``(M, h, w)`` bool of the objects with the given numbers, ``(M,)`` int64 from 0."""
        return self.planes[self.plane[objects]] == (objects + 1)[:, None, None]


def resized_example(sample: Sample, size: Size, corner: Size, frame: Size) -> InstanceExample:
    """The objects of a whole image at another size, as a loss takes them; its picture is black.

    Parameters
    ----------
    sample:
        With its objects.
    size:
        ``(h, w)`` that the image is resized to, px.
    corner:
        ``(y, x)`` where it then lies in a frame ...
    frame:
        ... of that ``(H, W)``.

    Raises
    ------
    DataError
        it has more than :data:`MAX_OBJECTS` objects, or one is damaged.
    """
    found = sample.instances or ()
    if len(found) > MAX_OBJECTS:
        raise too_many_objects(sample)
    grid = Grid.of((0, 0, *sample.size), size)
    planes, plane, areas = to_planes(map(crop_of, found), grid)
    placed = np.zeros((len(planes), *frame), np.uint16)
    (y, x), (h, w) = corner, size
    placed[:, y : y + h, x : x + w] = planes
    scene = InstanceScene(
        torch.zeros((3, *frame), dtype=torch.uint8),
        placed,
        plane,
        np.array([one.class_id for one in found], np.int64),
        np.array([one.crowd for one in found], bool),
        np.array([one.mask is not None for one in found], bool),
        areas.astype(np.float64),
        0.0,
    )
    return scene.settled().example()  # what is too small to have a pixel there is left out


def too_many_objects(sample: Sample) -> DataError:
    """What to say of a sample with more than :data:`MAX_OBJECTS` objects."""
    return DataError(
        f"{sample.path or sample.id}: has {len(sample.instances or ()):,} objects, at most "
        f"{MAX_OBJECTS:,} fit; cut the image into tiles"
    )


def collate_instances(examples: Sequence[InstanceExample]) -> list[InstanceExample]:
    """A batch for crops of unequal object counts (and sizes): the list of them."""
    return list(examples)


@dataclass(frozen=True, slots=True)
class InstanceScene:
    """A crop in the making: what is cut out, pasted and tiled before it becomes an example."""

    image: Tensor
    """``(3, h, w)`` uint8, contiguous."""
    planes: np.ndarray
    """``(K, h, w)`` uint16, K >= 1: object n is n + 1."""
    plane: np.ndarray
    """``(N,)`` int64: the plane of each object."""
    class_ids: np.ndarray
    """``(N,)`` int64."""
    crowd: np.ndarray
    """``(N,)`` bool."""
    outlined: np.ndarray
    """``(N,)`` bool."""
    whole: np.ndarray
    """``(N,)`` float64: pixels that each would have here if nothing hid it or cut it off."""
    min_visible: float
    """An object of which a smaller share is left is dropped."""

    @classmethod
    def read(cls, sample: Sample, space: LabelSpace, plan: Plan, *, min_visible: float):
        """Decode a sample as a plan wants it; objects that the crop does not show are left out.

        Raises
        ------
        DataError
            it has no list of objects, has more than :data:`MAX_OBJECTS`, or one is damaged.
        DataError, ImageError, SourceError
            its image cannot be read or does not fit.
        """
        if sample.instances is None:
            raise DataError(
                f"{sample.path or sample.id}: has labels for pixels but no objects; train on its "
                "labels, or convert the set to a format with objects"
            )
        if len(sample.instances) > MAX_OBJECTS:
            raise too_many_objects(sample)
        pixels, plan, factor = read_pixels(sample, plan)
        planes, plane, areas = to_planes(map(crop_of, sample.instances), plan.grid)
        return cls(
            plan.image(pixels, factor),
            np.stack([plan.placed(one, 0) for one in planes]),
            plane,
            np.array([one.class_id for one in sample.instances], np.int64),
            np.array([one.crowd for one in sample.instances], bool),
            np.array([one.mask is not None for one in sample.instances], bool),
            areas * plan.area_scale,
            min_visible,
        ).settled()

    def with_image(self, image: Tensor) -> InstanceScene:
        """The same objects on another picture."""
        return replace(self, image=image)

    def settled(self) -> InstanceScene:
        """Only the objects of which enough is visible, numbered anew; all others leave no pixel."""
        count = len(self.plane)
        areas = np.bincount(self.planes.ravel(), minlength=count + 1)[1:]
        # Of a crowd any pixel counts: what is left of it would be background.
        least = np.where(self.crowd, 1, np.maximum(1, self.min_visible * self.whole))
        kept = np.flatnonzero(areas >= least)
        if len(kept) == count:
            return self
        numbers = np.zeros(count + 1, np.uint16)
        numbers[kept + 1] = np.arange(1, len(kept) + 1)
        used, plane = np.unique(self.plane[kept], return_inverse=True)
        used = used if len(used) else np.zeros(1, np.int64)
        return replace(self._chosen(kept, numbers[self.planes[used]]), plane=plane)

    def pasted(self, donor: InstanceScene) -> InstanceScene:
        """Lay objects of another crop of the same size over this one.

        Each outlined object of the donor that is no crowd is taken with probability 1/2, at least
        one is. What they hide is taken from the masks below.
        """
        able = np.flatnonzero(donor.outlined & ~donor.crowd)
        if not len(able):
            return self
        taken = torch.rand(len(able)).numpy() < 0.5
        if not taken.any():
            taken[int(torch.randint(len(able), ()))] = True
        able = able[taken]
        count = len(self.plane)
        numbers = np.zeros(len(donor.plane) + 1, np.uint16)
        numbers[able + 1] = np.arange(count + 1, count + len(able) + 1)
        above = numbers[donor.planes]
        cover = above.any(0)
        below = np.where(cover, np.uint16(0), self.planes)
        planes = np.zeros((max(len(above), len(below)), *cover.shape), np.uint16)
        planes[: len(below)] = below
        planes[: len(above)] += above  # the two share no pixel
        image = torch.where(torch.from_numpy(cover), donor.image, self.image)
        joined = self._joined([self, donor._chosen(able, donor.planes)], image, planes)
        return joined.settled()

    @classmethod
    def tiled(
        cls, scenes: Sequence[InstanceScene], corners: Sequence[Size], size: Size
    ) -> InstanceScene:
        """Crops side by side, each with its upper left corner ``(y, x)``; they fill ``size``."""
        image = torch.zeros((3, *size), dtype=torch.uint8)
        planes = np.zeros((max(len(scene.planes) for scene in scenes), *size), np.uint16)
        before = 0
        for scene, (y, x) in zip(scenes, corners, strict=True):
            count, h, w = scene.planes.shape
            image[:, y : y + h, x : x + w] = scene.image
            planes[:count, y : y + h, x : x + w] = np.where(
                scene.planes, scene.planes + np.uint16(before), np.uint16(0)
            )
            before += len(scene.plane)
        return cls._joined(scenes, image, planes)

    def hidden(self, y: int, x: int, h: int, w: int) -> InstanceScene:
        """Take a rectangle, px, from all masks, as if something stood before them."""
        planes = self.planes.copy()
        planes[:, y : y + h, x : x + w] = 0
        return replace(self, planes=planes).settled()

    def example(self) -> InstanceExample:
        """As tensors, with the boxes of the masks."""
        return InstanceExample(
            self.image,
            torch.from_numpy(extents(self.planes, self.plane)),
            torch.from_numpy(self.class_ids),
            torch.from_numpy(self.crowd),
            torch.from_numpy(self.outlined),
            torch.from_numpy(self.planes.astype(np.int32)),
            torch.from_numpy(self.plane),
        )

    def _chosen(self, objects: np.ndarray, planes: np.ndarray) -> InstanceScene:
        """Some of the objects, by number, with planes that are numbered for them."""
        return replace(
            self,
            planes=planes,
            plane=self.plane[objects],
            class_ids=self.class_ids[objects],
            crowd=self.crowd[objects],
            outlined=self.outlined[objects],
            whole=self.whole[objects],
        )

    @staticmethod
    def _joined(
        scenes: Sequence[InstanceScene], image: Tensor, planes: np.ndarray
    ) -> InstanceScene:
        """The objects of several scenes, one scene after the other."""
        return InstanceScene(
            image,
            planes,
            np.concatenate([scene.plane for scene in scenes]),
            np.concatenate([scene.class_ids for scene in scenes]),
            np.concatenate([scene.crowd for scene in scenes]),
            np.concatenate([scene.outlined for scene in scenes]),
            np.concatenate([scene.whole for scene in scenes]),
            scenes[0].min_visible,
        )


def to_planes(
    crops: Iterable[tuple[int, int, np.ndarray]], grid: Grid
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masks, each a ``(y0, x0, crop)`` inside the image, to as few planes as a first fit finds.

    A plane has the size of what is shown: the memory does not depend on the image's.

    Returns
    -------
    planes : (K, h, w) uint16, K >= 1; mask n is n + 1, as the grid shows it
    plane : (N,) int64, the plane of each mask
    areas : (N,) int64, px of the image
    """
    planes = [np.zeros(grid.size, np.uint16)]
    plane: list[int] = []
    areas: list[int] = []
    for number, (y0, x0, crop) in enumerate(crops, start=1):
        y, x, seen = grid.seen(y0, x0, crop)
        rows, columns = slice(y, y + seen.shape[0]), slice(x, x + seen.shape[1])
        free = (at for at, one in enumerate(planes) if not one[rows, columns][seen].any())
        at = next(free, len(planes))
        if at == len(planes):
            planes.append(np.zeros(grid.size, np.uint16))
        planes[at][rows, columns][seen] = number
        plane.append(at)
        areas.append(int(np.count_nonzero(crop)))
    return np.stack(planes), np.array(plane, np.int64), np.array(areas, np.int64)


def extents(planes: np.ndarray, plane: np.ndarray) -> np.ndarray:
    """``(N, 4)`` float32 boxes x1 y1 x2 y2 of the objects in planes, x2 and y2 exclusive, px.

    Every object has a pixel in its plane.
    """
    from scipy import ndimage

    boxes = np.zeros((len(plane), 4), np.float32)
    for at, one in enumerate(planes):
        mine = np.flatnonzero(plane == at)
        if len(mine):
            found = ndimage.find_objects(one, int(mine[-1]) + 1)
            for number in mine:
                rows, columns = found[number]
                boxes[number] = columns.start, rows.start, columns.stop, rows.stop
    return boxes


def crop_of(instance: Instance) -> tuple[int, int, np.ndarray]:
    """Where an object's mask lies, and its pixels; its box, to whole pixels, if it has no mask."""
    if instance.mask is not None:
        return instance.mask.crop(0)
    return box_crop(instance.box, instance.size)
