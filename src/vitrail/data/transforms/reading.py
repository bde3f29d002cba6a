"""The pixels of a sample, decoded no larger than its crop needs."""

from __future__ import annotations

import io

import cv2
import numpy as np

from vitrail.codecs.arrays import ORIENTATION
from vitrail.codecs.limits import Limits
from vitrail.codecs.pillow import open_pillow
from vitrail.data.sample import Sample
from vitrail.data.transforms.geometry import Plan
from vitrail.sources import open_file

_FLAGS = {
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def read_pixels(sample: Sample, plan: Plan) -> tuple[np.ndarray, Plan, int]:
    """A sample's image, perhaps reduced; the plan, which fits it; and by what it was reduced.

    A JPEG of which the plan shows less than half the resolution is decoded at 1/2, 1/4 or 1/8:
    the decoder then averages each block of that many pixels, in a quarter of the time. What is
    left is still at least as fine as the crop, and is resized with antialiasing. In all other
    cases, this is :attr:`Sample.image`, with its errors.

    Returns
    -------
    ``(ceil(H / factor), ceil(W / factor), 3)`` uint8 RGB, the plan snapped to ``factor``, and
    ``factor``: 1, 2, 4 or 8.
    """
    factor = plan.reduction
    pixels = _reduced(sample, factor) if factor > 1 else None
    if pixels is None:
        return sample.image, plan, 1
    return pixels, plan.snapped(sample.size, factor), factor


def _reduced(sample: Sample, factor: int) -> np.ndarray | None:
    """An upright, whole, ordinary JPEG at a fraction of its size; None for all else, and for any
    doubt: the full decoder reports what is wrong.
    """
    path = sample.path
    if path is None or path.suffix.lower() not in (".jpg", ".jpeg"):
        return None
    limits = Limits.of(None, None)
    with open_file(str(path), limits.max_bytes) as file:
        try:
            data = file.read()
        except OSError:
            return None
    if not data.rstrip(b"\0").endswith(b"\xff\xd9"):  # cut short
        return None
    picture = open_pillow(io.BytesIO(data), str(path))
    if picture is None or picture.format != "JPEG" or picture.mode not in ("L", "RGB"):
        return None
    limits.check(str(path), *picture.size, 3)
    try:
        orientation = picture.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged EXIF
        return None
    if orientation != 1 or picture.size[::-1] != sample.size:
        return None
    try:
        flags = _FLAGS[factor] | cv2.IMREAD_IGNORE_ORIENTATION
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    height, width = (-(-extent // factor) for extent in sample.size)
    if pixels is None or pixels.shape != (height, width, 3):
        return None
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
