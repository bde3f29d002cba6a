"""The simpler pictures: images side by side, masks laid over them, the largest classes."""

from __future__ import annotations

import colorsys
import random
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from vitrail.errors import MissingExtraError, ParameterError

Colour = Sequence[float]
"""Red, green, blue in 0..1; a fourth value, the opacity, is read for lines only."""


def pyplot() -> Any:
    """matplotlib's ``pyplot``.

    Raises
    ------
    MissingExtraError
        it is not installed.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise MissingExtraError(
            'mrcnn.visualize draws with matplotlib, which is not installed; pip install "'
            'matplotlib>=3.9", or use result.plot() and result.save(), which need nothing else'
        ) from None
    return plt


def show() -> None:
    """Show what was drawn, where there is a screen or a notebook for it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is non-interactive.*")
        pyplot().show()


def display_images(
    images: Sequence[np.ndarray],
    titles: Sequence[str] | None = None,
    cols: int = 4,
    cmap: Any = None,
    norm: Any = None,
    interpolation: str | None = None,
) -> None:
    """Show images in a grid.

    Parameters
    ----------
    images:
        ``(H, W, 3)`` RGB or ``(H, W)`` each, values 0..255; or one array of them.
    titles:
        One for each.
    cols:
        Images in a row.
    cmap, norm, interpolation:
        Passed on to ``imshow``.
    """
    plt = pyplot()
    rows = -(-len(images) // cols)
    plt.figure(figsize=(14, 14 * max(1, rows) // cols))
    for number, (image, title) in enumerate(
        zip(images, titles or [""] * len(images), strict=True), start=1
    ):
        plt.subplot(rows, cols, number)
        plt.title(title, fontsize=9)
        plt.axis("off")
        plt.imshow(
            np.asarray(image).astype(np.uint8), cmap=cmap, norm=norm, interpolation=interpolation
        )
    show()


def random_colors(N: int, bright: bool = True) -> list[tuple[float, float, float]]:  # noqa: N803
    """Colours that differ as much as can be, shuffled: RGB in 0..1.

    Their hues are evenly spaced; ``bright=False`` makes them darker.
    """
    value = 1.0 if bright else 0.7
    colours = [colorsys.hsv_to_rgb(number / N, 1.0, value) for number in range(N)]
    random.shuffle(colours)
    return colours


def apply_mask(
    image: np.ndarray, mask: np.ndarray, color: Colour, alpha: float = 0.5
) -> np.ndarray:
    """Lay a colour over an image where a mask is 1. Changes the image, and returns it.

    Parameters
    ----------
    image:
        ``(H, W, 3)``, 0..255, of any type; values are cut off to it.
    mask:
        ``(H, W)`` bool or 0 and 1.
    color:
        RGB in 0..1.
    alpha:
        Opacity.
    """
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[:2] != mask.shape:
        raise ParameterError(
            f"image of shape {np.shape(image)} and mask of shape {mask.shape}: expected an array "
            "(H, W, 3) and a mask (H, W) of the same size"
        )
    inside = np.asarray(mask) == 1
    mixed = image[inside][:, :3] * (1 - alpha) + alpha * 255 * np.asarray(color[:3], float)
    image[inside, :3] = mixed.astype(image.dtype)
    return image


def draw_box(image: np.ndarray, box: Sequence[int], color: Sequence[int]) -> np.ndarray:
    """Draw a box two pixels wide. Changes the image, and returns it.

    ``box``: y1 x1 y2 x2, px; ``color``: in the image's own values.
    """
    y1, x1, y2, x2 = box
    image[y1 : y1 + 2, x1:x2] = color
    image[y2 : y2 + 2, x1:x2] = color
    image[y1:y2, x1 : x1 + 2] = color
    image[y1:y2, x2 : x2 + 2] = color
    return image


def display_top_masks(
    image: np.ndarray,
    mask: np.ndarray,
    class_ids: np.ndarray,
    class_names: Sequence[str],
    limit: int = 4,
) -> None:
    """Show an image, and beside it the masks of the classes that cover most of it.

    Parameters
    ----------
    image:
        ``(H, W, 3)``.
    mask:
        ``(H, W, N)``.
    class_ids:
        ``(N,)``.
    class_names:
        By class id.
    limit:
        Classes shown; where there are fewer, the rest stays empty.
    """
    area = {
        int(id): int(np.count_nonzero(mask[..., class_ids == id])) for id in np.unique(class_ids)
    }
    largest = sorted((id for id in area if area[id]), key=lambda id: area[id], reverse=True)
    pictures = [np.asarray(image)]
    titles = [f"H x W={image.shape[0]}x{image.shape[1]}"]
    for id in largest[:limit]:
        own = np.asarray(mask[..., class_ids == id] != 0)
        pictures.append(own @ np.arange(1, own.shape[-1] + 1))  # each object a shade of its own
        titles.append(class_names[id])
    blank = limit + 1 - len(pictures)
    pictures += [np.zeros(image.shape[:2], np.uint8)] * blank
    display_images(pictures, titles + ["-"] * blank, cols=limit + 1, cmap="Blues_r")
