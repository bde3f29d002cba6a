"""A data set seen through an augmentation, every draw of which can be had again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info
from torchvision import tv_tensors
from torchvision.transforms import v2

from vitrail.data.sample import LabelSpace, Sample, SampleSource
from vitrail.data.transforms.framing import Size, chance, uniform
from vitrail.data.transforms.geometry import Geometry, Plan
from vitrail.data.transforms.photometric import Cutout

E = TypeVar("E")
E_co = TypeVar("E_co", covariant=True)


class Scene(Protocol[E_co]):
    """What an augmentation works on: ``LabelScene`` or ``InstanceScene``."""

    @property
    def image(self) -> Tensor: ...
    def with_image(self, image: Tensor) -> Any: ...
    def pasted(self, donor: Any) -> Any: ...
    def tiled(self, scenes: Any, corners: Sequence[Size], size: Size) -> Any: ...
    def hidden(self, y: int, x: int, h: int, w: int) -> Any: ...
    def example(self) -> E_co: ...


@dataclass(frozen=True)
class Augmentation(Generic[E]):
    """How a sample becomes a training crop: mosaic or one scene, copy-paste, colours, cutout.

    ``vitrail.data.augment.build_augmentation`` makes one from a recipe. All draws come from
    torch's global generator on the CPU.
    """

    read: Callable[[Sample, LabelSpace, Plan], Scene[E]]
    """Decodes a sample of a source with that label space."""
    geometry: Geometry
    colours: v2.Transform | None = None
    cutout: Cutout | None = None
    cutout_probability: float = 0.0
    copy_paste: float = 0.0
    """Probability that another image's objects are pasted over the crop: Ghiasi et al., "Simple
    Copy-Paste is a Strong Data Augmentation Method for Instance Segmentation", arXiv:2012.07177.
    """
    mosaic: float = 0.0
    """Probability that the crop is put together from four images around a random point: Bochkovskiy
    et al., "YOLOv4", arXiv:2004.10934.
    """

    def __call__(self, sample: Sample, space: LabelSpace, another: Callable[[], Sample]) -> E:
        """Draw one training crop.

        Parameters
        ----------
        sample:
            What it is of.
        space:
            Label space of its source.
        another:
            Draws one more sample of the source, for copy-paste and mosaic.
        """
        if chance(self.mosaic):
            scene = self._mosaic([sample, another(), another(), another()], space)
        else:
            scene = self._one(sample, space, self.geometry.size)
        if chance(self.copy_paste):
            scene = scene.pasted(self._one(another(), space, self.geometry.size))
        if self.colours is not None:
            image = self.colours(tv_tensors.Image(scene.image))
            scene = scene.with_image(image.as_subclass(Tensor).contiguous())
        if self.cutout is not None and chance(self.cutout_probability):
            image, rectangle = self.cutout(scene.image)
            scene = scene.with_image(image).hidden(*rectangle)
        return scene.example()

    def _one(self, sample: Sample, space: LabelSpace, size: Size) -> Scene[E]:
        return self.read(sample, space, self.geometry.plan(sample.size, size))

    def _mosaic(self, samples: Sequence[Sample], space: LabelSpace) -> Scene[E]:
        """Four crops around a point in the middle half; each image is framed for its own part."""
        height, width = self.geometry.size
        y, x = (min(n - 1, max(1, round(uniform(0.25, 0.75) * n))) for n in (height, width))
        corners = [(0, 0), (0, x), (y, 0), (y, x)]
        sizes = [(y, x), (y, width - x), (height - y, x), (height - y, width - x)]
        scenes = [self._one(s, space, size) for s, size in zip(samples, sizes, strict=True)]
        return scenes[0].tiled(scenes, corners, (height, width))


class TrainingSet(Dataset[E]):
    """A sample source seen through an augmentation; safe with worker processes.

    With an index ``(epoch, position)``, as ``vitrail.data.sampler.ResumableSampler`` yields it,
    an item is a function of seed, epoch and position alone: it depends neither on the number of
    workers, nor on how they are started, nor on what was loaded before, and torch's global
    generator is left as it was. With a plain position, the item is drawn by torch's global
    generator, and is another one each time.

    Parameters
    ----------
    source:
        The samples.
    augmentation:
        What becomes of them, for the label space of this source.
    seed:
        Of all draws, >= 0.
    order:
        Indices of the samples at each position, to leave some out or show some more than once
        (each time with draws of its own). Default: all, once.
    """

    def __init__(
        self,
        source: SampleSource,
        augmentation: Augmentation[E],
        *,
        seed: int = 0,
        order: Sequence[int] | None = None,
    ) -> None:
        self.source = source
        self.augmentation = augmentation
        self.seed = seed
        self.order = np.arange(len(source)) if order is None else np.asarray(order, np.int64)

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int | tuple[int, int]) -> E:
        if get_worker_info() is not None:
            # A forked process inherits OpenCV's pool without its threads, and would wait for them.
            cv2.setNumThreads(0)
        if isinstance(index, tuple):
            epoch, position = index
            with _drawn_from(self.seed, epoch, position):
                return self._item(position)
        return self._item(index)

    def _item(self, position: int) -> E:
        sample = self.source[int(self.order[position])]
        return self.augmentation(sample, self.source.space, self._another)

    def _another(self) -> Sample:
        return self.source[int(self.order[int(torch.randint(len(self.order), ()))])]


@contextmanager
def _drawn_from(seed: int, epoch: int, position: int) -> Iterator[None]:
    """Seed torch's generator on the CPU (the transforms know no other) for one item."""
    before = torch.get_rng_state()
    mixed = np.random.SeedSequence((seed, epoch, position)).generate_state(1, np.uint64)
    torch.default_generator.manual_seed(int(mixed[0]))
    try:
        yield
    finally:
        torch.set_rng_state(before)
