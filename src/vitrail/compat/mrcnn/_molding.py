"""Between images and the network's input, and between its raw output and detections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vitrail.compat.mrcnn._boxes import denorm_boxes, extract_bboxes, norm_boxes
from vitrail.compat.mrcnn._dataset import Dataset, objects_of
from vitrail.compat.mrcnn._images import minimize_mask, resize_image, resize_mask, unmold_mask
from vitrail.compat.mrcnn.config import Config
from vitrail.errors import ParameterError


def log(text: str, array: np.ndarray | None = None) -> None:
    """Print a line; of an array its shape, least and greatest value and type, in columns."""
    if array is None:
        print(text)
        return
    span = ("", "")
    if array.size:
        span = (f"{array.min():10.5f}", f"{array.max():10.5f}")
    print(
        f"{text:25}shape: {array.shape!s:20}  min: {span[0]:10}  max: {span[1]:10}  {array.dtype}"
    )


def mold_image(images: np.ndarray, config: Config) -> np.ndarray:
    """Subtract the mean colour; ``(..., C)`` RGB of 0..255 to float64."""
    return images.astype(np.float32) - config.MEAN_PIXEL


def unmold_image(normalized_images: np.ndarray, config: Config) -> np.ndarray:
    """The reverse of :func:`mold_image`: uint8."""
    return (normalized_images + config.MEAN_PIXEL).astype(np.uint8)


def compose_image_meta(
    image_id: int,
    original_image_shape: Sequence[int],
    image_shape: Sequence[int],
    window: Sequence[int],
    scale: float,
    active_class_ids: Sequence[int] | np.ndarray,
) -> np.ndarray:
    """What is known of an image in one row.

    Parameters
    ----------
    image_id:
        Its number.
    original_image_shape, image_shape:
        ``(H, W, C)`` before and after resizing and padding.
    window:
        y1 x1 y2 x2, px: its part that is no padding.
    scale:
        That it was resized by.
    active_class_ids:
        For each class 1, or 0 where the image's source does not have it.

    Returns
    -------
    ``(12 + classes,)``.
    """
    fixed = [image_id, *original_image_shape, *image_shape, *window, scale]
    return np.array(fixed + list(active_class_ids))


def parse_image_meta(meta: np.ndarray) -> dict[str, np.ndarray]:
    """Rows of :func:`compose_image_meta`, ``(B, 12 + classes)``, taken apart by name."""
    return {
        "image_id": meta[:, 0].astype(np.int32),
        "original_image_shape": meta[:, 1:4].astype(np.int32),
        "image_shape": meta[:, 4:7].astype(np.int32),
        "window": meta[:, 7:11].astype(np.int32),
        "scale": meta[:, 11].astype(np.float32),
        "active_class_ids": meta[:, 12:].astype(np.int32),
    }


def mold_inputs(
    images: Sequence[np.ndarray], config: Config
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images as the network takes them.

    Parameters
    ----------
    images:
        ``(H, W, C)`` RGB each; after resizing they have one shape.
    config:
        Says how they are resized, and the mean colour.

    Returns
    -------
    ``(B, h, w, C)`` float64; ``(B, 12 + classes)`` of :func:`compose_image_meta`; ``(B, 4)``
    windows y1 x1 y2 x2, px.

    Raises
    ------
    ParameterError
        no image, one of another number of bands, or shapes that differ after resizing.
    """
    if config.IMAGE_RESIZE_MODE == "crop":
        raise ParameterError(
            "IMAGE_RESIZE_MODE='crop' is for training: detect() has to see the whole image, in "
            "mode 'square', 'pad64' or 'none'"
        )
    molded: list[np.ndarray] = []
    metas: list[np.ndarray] = []
    windows: list[tuple[int, int, int, int]] = []
    for image in images:
        if image.ndim != 3 or image.shape[2] != config.IMAGE_CHANNEL_COUNT:
            raise ParameterError(
                f"an image has shape {image.shape}, expected (H, W, {config.IMAGE_CHANNEL_COUNT})"
            )
        resized, window, scale, _, _ = resize_image(
            image,
            min_dim=config.IMAGE_MIN_DIM,
            max_dim=config.IMAGE_MAX_DIM,
            min_scale=config.IMAGE_MIN_SCALE,
            mode=config.IMAGE_RESIZE_MODE,
        )
        active = np.zeros(config.NUM_CLASSES, np.int32)
        metas.append(compose_image_meta(0, image.shape, resized.shape, window, scale, active))
        windows.append(window)
        molded.append(mold_image(resized, config))
    if len({one.shape for one in molded}) != 1:
        raise ParameterError(
            f"{len(molded)} images of shapes {sorted({one.shape for one in molded})} after "
            "resizing: expected one shape; IMAGE_RESIZE_MODE='square' makes it so, or give them "
            "one at a time"
        )
    return np.stack(molded), np.stack(metas), np.stack(windows)


def unmold_detections(
    detections: np.ndarray,
    mrcnn_mask: np.ndarray,
    original_image_shape: Sequence[int],
    image_shape: Sequence[int],
    window: Sequence[int] | np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Detections of one molded image in px of the original.

    Parameters
    ----------
    detections:
        ``(N, 6)`` y1 x1 y2 x2, class id, score; boxes as shares of the molded image
        (:func:`~vitrail.compat.mrcnn.utils.norm_boxes`). A class id of 0 ends them.
    mrcnn_mask:
        ``(N, h, w, classes)`` probabilities.
    original_image_shape, image_shape:
        ``(H, W, C)`` of the image, and after resizing and padding.
    window:
        y1 x1 y2 x2, px: the molded image's part that is no padding.

    Returns
    -------
    ``(M, 4)`` int32 boxes y1 x1 y2 x2, ``(M,)`` int32 class ids, ``(M,)`` scores and ``(H, W, M)``
    bool masks; boxes that have no area any more are left out.
    """
    classes = detections[:, 4].astype(np.int32)
    padding = np.flatnonzero(classes == 0)
    count = int(padding[0]) if padding.size else len(classes)
    top, left, bottom, right = norm_boxes(np.asarray(window), image_shape)
    corner = np.array([top, left, top, left])
    extent = np.array([bottom - top, right - left, bottom - top, right - left])
    boxes = denorm_boxes((detections[:count, :4] - corner) / extent, original_image_shape)
    kept = np.flatnonzero(((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=1))
    masks = np.zeros((*original_image_shape[:2], len(kept)), bool)
    for place, number in enumerate(kept):
        small = mrcnn_mask[number, :, :, classes[number]]
        masks[..., place] = unmold_mask(small, boxes[number], original_image_shape)
    return boxes[kept], classes[kept], detections[kept, 5], masks


def compute_backbone_shapes(config: Config, image_shape: Sequence[int]) -> np.ndarray:
    """``(5, 2)`` heights and widths of the levels P2 to P6 for an input ``(H, W, C)``."""
    sides = [[-(-side // stride) for side in image_shape[:2]] for stride in config.BACKBONE_STRIDES]
    return np.array(sides)


def load_image_gt(
    dataset: Dataset,
    config: Config,
    image_id: int,
    augment: bool = False,
    augmentation: Any = None,
    use_mini_mask: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """An image of a data set and its objects, resized as the network will see them.

    Parameters
    ----------
    dataset:
        Prepared.
    config:
        Says how images are resized.
    image_id:
        One of ``dataset.image_ids``.
    augment:
        Exchange left and right in half of the calls.
    augmentation:
        None; ``train`` takes vitrail's augmentation.
    use_mini_mask:
        Cut masks out at their boxes and shrink them to ``MINI_MASK_SHAPE``.

    Returns
    -------
    ``(h, w, C)`` uint8 image, its meta, ``(N,)`` class ids, ``(N, 4)`` int32 boxes y1 x1 y2 x2 and
    masks, ``(h, w, N)`` or ``(*MINI_MASK_SHAPE, N)`` bool; objects that lost all pixels are left
    out.

    Raises
    ------
    DataError
        ``load_mask`` returns something else than masks of the image's size and their class ids.
    """
    if augmentation is not None:
        raise ParameterError(
            "load_image_gt(augmentation=...) is not offered; model.train(augmentation={'flip': "
            "0.5}) augments while training, and `vitrail data preview` shows what that does"
        )
    image = dataset.load_image(image_id)
    masks, class_ids = objects_of(dataset, image_id)
    original = image.shape
    image, window, scale, padding, crop = resize_image(
        image,
        min_dim=config.IMAGE_MIN_DIM,
        max_dim=config.IMAGE_MAX_DIM,
        min_scale=config.IMAGE_MIN_SCALE,
        mode=config.IMAGE_RESIZE_MODE,
    )
    masks = resize_mask(masks, scale, padding, crop)
    if augment and np.random.default_rng().random() < 0.5:
        image, masks = image[:, ::-1].copy(), masks[:, ::-1].copy()
    visible = masks.any(axis=(0, 1))
    masks, class_ids = masks[..., visible] != 0, class_ids[visible]
    boxes = extract_bboxes(masks)
    source = dataset.image_info[image_id]["source"]
    active = np.zeros(dataset.num_classes, np.int32)
    active[dataset.source_class_ids.get(source, [])] = 1
    if use_mini_mask:
        masks = minimize_mask(boxes, masks, config.MINI_MASK_SHAPE)
    meta = compose_image_meta(image_id, original, image.shape, window, scale, active)
    return image, meta, class_ids, boxes, masks
