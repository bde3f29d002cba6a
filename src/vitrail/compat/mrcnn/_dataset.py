"""``utils.Dataset``: images and classes of several sources under one numbering."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from vitrail.errors import DataError, ParameterError
from vitrail.image import read_image


class Dataset:
    """Base of a reader's data set.

    A subclass calls :meth:`add_class` and :meth:`add_image` in a method of its own and overrides
    :meth:`load_mask`; :meth:`prepare` is called before the data set is used.

    Attributes
    ----------
    image_info:
        For each image ``{"id", "source", "path", ...}``, with what :meth:`add_image` was given.
    class_info:
        For each class ``{"source", "id", "name"}``; the background is the first.
    num_classes, num_images:
        After :meth:`prepare`: how many, background included.
    class_ids, class_names:
        After :meth:`prepare`: 0, 1 ..., and their names up to a comma.
    sources:
        After :meth:`prepare`: the sources' names, in the order in which they were first seen.
    source_class_ids:
        After :meth:`prepare`: for each source the ids of its classes, background included.
    """

    def __init__(self, class_map: Mapping[str, str] | None = None) -> None:
        if class_map is not None:
            raise ParameterError("class_map: the original never read it; rename classes themselves")
        self._image_ids = np.zeros(0, np.int64)
        self.image_info: list[dict[str, Any]] = []
        self.class_info: list[dict[str, Any]] = [{"source": "", "id": 0, "name": "BG"}]
        self.source_class_ids: dict[str, list[int]] = {}

    def add_class(self, source: str, class_id: int | str, class_name: str) -> None:
        """Make a class known; a second call with the same source and id changes nothing.

        Parameters
        ----------
        source:
            Of which this is a class: ``"coco"``; without a dot.
        class_id:
            The source's own number of it.
        class_name:
            As people shall read it.
        """
        if "." in source:
            raise ParameterError(f"source={source!r}: a source's name has no dot")
        if any((one["source"], one["id"]) == (source, class_id) for one in self.class_info):
            return
        self.class_info.append({"source": source, "id": class_id, "name": class_name})

    def add_image(self, source: str, image_id: Any, path: Any, **kwargs: Any) -> None:
        """Make an image known: its source's own id, its file, and whatever else is worth it."""
        self.image_info.append({"id": image_id, "source": source, "path": path, **kwargs})

    def image_reference(self, image_id: int) -> str:
        """Where to look at an image, for messages; empty unless a subclass says more."""
        return ""

    def prepare(self, class_map: Mapping[str, str] | None = None) -> None:
        """Number classes and images; call it when all of them are known."""
        if class_map is not None:
            raise ParameterError("class_map: the original never read it; rename classes themselves")
        self.num_classes = len(self.class_info)
        self.class_ids = np.arange(self.num_classes)
        self.class_names = [str(one["name"]).partition(",")[0] for one in self.class_info]
        self.num_images = len(self.image_info)
        self._image_ids = np.arange(self.num_images)
        self.class_from_source_map = {
            f"{one['source']}.{one['id']}": number for number, one in enumerate(self.class_info)
        }
        self.image_from_source_map = {
            f"{one['source']}.{one['id']}": number for number, one in enumerate(self.image_info)
        }
        self.sources = list(dict.fromkeys(one["source"] for one in self.class_info))
        self.source_class_ids = {
            source: [
                number
                for number, one in enumerate(self.class_info)
                if number == 0 or one["source"] == source
            ]
            for source in self.sources
        }

    def map_source_class_id(self, source_class_id: str) -> int:
        """Our number of a class named ``"source.id"``: ``map_source_class_id("coco.12")``."""
        return self.class_from_source_map[source_class_id]

    def get_source_class_id(self, class_id: int, source: str) -> Any:
        """A source's own number of our class; the class has to be of that source."""
        info = self.class_info[class_id]
        if info["source"] != source:
            raise ParameterError(f"class {class_id} ({info['name']!r}) is not of {source!r}")
        return info["id"]

    @property
    def image_ids(self) -> np.ndarray:
        """``(N,)`` numbers of the images, from 0; empty before :meth:`prepare`."""
        return self._image_ids

    def source_image_link(self, image_id: int) -> Any:
        """The path or URL that an image was added with."""
        return self.image_info[image_id]["path"]

    def load_image(self, image_id: int) -> np.ndarray:
        """An image as ``(H, W, 3)`` uint8 RGB, its EXIF rotation applied.

        Raises
        ------
        SourceError, ImageError
            it cannot be found or read.
        """
        return read_image(self.image_info[image_id]["path"]).rgb()

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """The objects of an image; this one has none, a subclass overrides it.

        Returns
        -------
        ``(H, W, N)`` bool masks, and ``(N,)`` int32 class ids.
        """
        warnings.warn(
            f"{type(self).__name__} has no load_mask() of its own: image {image_id} has no objects",
            stacklevel=2,
        )
        return np.zeros((0, 0, 0), bool), np.zeros(0, np.int32)


def objects_of(dataset: Dataset, image_id: int) -> tuple[np.ndarray, np.ndarray]:
    """What a data set's ``load_mask`` says of an image, looked at: ``(H, W, N)`` and ``(N,)``.

    Raises
    ------
    DataError
        it is no stack of masks with a class id for each.
    """
    masks, class_ids = (np.asarray(one) for one in dataset.load_mask(image_id))
    image = dataset.image_info[image_id]["path"] or f"image {image_id}"
    if masks.ndim != 3 or class_ids.shape != masks.shape[2:]:
        raise DataError(
            f"{image}: load_mask() returned masks of shape {masks.shape} and class ids of shape "
            f"{class_ids.shape}, expected (H, W, N) and (N,)"
        )
    last = len(dataset.class_info) - 1
    if class_ids.size and not 0 < abs(class_ids).min() <= abs(class_ids).max() <= last:
        raise DataError(
            f"{image}: load_mask() returned the class ids {sorted(set(class_ids.tolist()))}, "
            f"expected 1 to {last}; 0 is the background, and negative ones are crowds"
        )
    return masks, class_ids
