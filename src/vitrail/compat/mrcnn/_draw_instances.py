"""Pictures of objects: boxes, masks with their outlines, captions."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from skimage.measure import find_contours

from vitrail.compat.mrcnn._draw import Colour, apply_mask, pyplot, random_colors, show
from vitrail.compat.mrcnn._scores import compute_matches
from vitrail.errors import ParameterError

_MARGIN = 10
"""Around the picture, px: lines at the edge stay visible."""
_GREY = (0.5, 0.5, 0.5)


def display_instances(
    image: np.ndarray,
    boxes: np.ndarray,
    masks: np.ndarray,
    class_ids: np.ndarray,
    class_names: Sequence[str],
    scores: np.ndarray | None = None,
    title: str = "",
    figsize: tuple[float, float] = (16, 16),
    ax: Any = None,
    show_mask: bool = True,
    show_bbox: bool = True,
    colors: Sequence[Colour] | None = None,
    captions: Sequence[str] | None = None,
) -> None:
    """Draw objects over their image; with ``ax`` into that, otherwise shown at once.

    Parameters
    ----------
    image:
        ``(H, W, 3)``; it is not changed.
    boxes:
        ``(N, 4)`` y1 x1 y2 x2, px; an object whose box is all zeros is left out.
    masks:
        ``(H, W, N)``.
    class_ids:
        ``(N,)``.
    class_names:
        By class id.
    scores:
        ``(N,)``, written behind the class.
    title:
        Above the picture.
    figsize:
        Inches, where there is no ``ax``.
    ax:
        matplotlib axes to draw into.
    show_mask, show_bbox:
        Whether masks and boxes are drawn.
    colors:
        RGB in 0..1, one for each object; random ones by default.
    captions:
        Instead of class and score.

    Raises
    ------
    ParameterError
        the numbers of boxes, masks and class ids differ.
    MissingExtraError
        matplotlib is not installed.
    """
    count = len(boxes)
    if not count:
        print("\n*** No instances to display *** \n")
    if not count == masks.shape[-1] == len(class_ids):
        raise ParameterError(
            f"{count} boxes, {masks.shape[-1]} masks (H, W, N) and {len(class_ids)} class ids: "
            "expected as many of each"
        )
    if captions is None:
        captions = [
            _caption(str(class_names[id]), None if scores is None else scores[number])
            for number, id in enumerate(class_ids)
        ]
    shown = ax is None
    ax = _axes(image, title, figsize, ax)
    picture = image.astype(np.uint32)
    colors = colors or random_colors(count)
    for number, color in zip(range(count), colors, strict=False):
        y1, x1 = boxes[number][:2]
        if not np.any(boxes[number]):
            continue
        if show_bbox:
            _rectangle(ax, boxes[number], color, style="dashed", alpha=0.7)
        ax.text(x1, y1 + 8, captions[number], color="w", size=11, backgroundcolor="none")
        if show_mask:
            apply_mask(picture, masks[..., number], color)
        _outline(ax, masks[..., number], color)
    ax.imshow(picture.astype(np.uint8))
    if shown:
        show()


def display_differences(
    image: np.ndarray,
    gt_box: np.ndarray,
    gt_class_id: np.ndarray,
    gt_mask: np.ndarray,
    pred_box: np.ndarray,
    pred_class_id: np.ndarray,
    pred_score: np.ndarray,
    pred_mask: np.ndarray,
    class_names: Sequence[str],
    title: str = "",
    ax: Any = None,
    show_mask: bool = True,
    show_box: bool = True,
    iou_threshold: float = 0.5,
    score_threshold: float = 0.5,
) -> None:
    """Draw the truth in green and predictions in red, with score and IoU; parameters as
    :func:`display_instances` and :func:`~vitrail.compat.mrcnn.utils.compute_matches`."""
    _, pred_match, overlaps = compute_matches(
        gt_box,
        gt_class_id,
        gt_mask,
        pred_box,
        pred_class_id,
        pred_score,
        pred_mask,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
    )
    order = np.argsort(pred_score)[::-1]
    best = overlaps.max(axis=1, initial=0)
    told = [
        f"{pred_score[which]:.2f} / {overlaps[row, match] if match >= 0 else best[row]:.2f}"
        for row, (which, match) in enumerate(zip(order, pred_match, strict=True))
    ]
    objects, found = len(gt_box), len(pred_box)
    display_instances(
        image,
        np.concatenate([gt_box, np.asarray(pred_box)[order]]),
        np.concatenate([gt_mask, np.asarray(pred_mask)[..., order]], axis=2),
        np.concatenate([gt_class_id, np.asarray(pred_class_id)[order]]),
        class_names,
        title=title or "Truth (green) and detections (red: score / IoU)",
        ax=ax,
        show_bbox=show_box,
        show_mask=show_mask,
        colors=[(0, 1, 0, 0.8)] * objects + [(1, 0, 0, 1)] * found,
        captions=[""] * objects + told,
    )


def draw_boxes(
    image: np.ndarray,
    boxes: np.ndarray | None = None,
    refined_boxes: np.ndarray | None = None,
    masks: np.ndarray | None = None,
    captions: Sequence[str] | None = None,
    visibilities: Sequence[int] | None = None,
    title: str = "",
    ax: Any = None,
) -> None:
    """Draw boxes, and what they became; with ``ax`` into that, otherwise shown at once.

    Parameters
    ----------
    image:
        ``(H, W, 3)``; it is not changed.
    boxes:
        ``(N, 4)`` y1 x1 y2 x2, px; dotted where there are refined ones.
    refined_boxes:
        ``(N, 4)``, solid, joined to its first box by a line; or instead of ``boxes``.
    masks:
        ``(H, W, N)``.
    captions:
        One for each box.
    visibilities:
        For each box 0: grey and faint, 1: dotted, 2: solid.
    title:
        Above the picture.
    ax:
        matplotlib axes to draw into.
    """
    if boxes is None and refined_boxes is None:
        raise ParameterError("draw_boxes needs boxes, refined_boxes, or both")
    count = len(boxes if boxes is not None else refined_boxes)  # pyright: ignore[reportArgumentType]
    shown = ax is None
    ax = _axes(image, title, (12, 12), ax)
    picture = image.astype(np.uint32)
    styles = _styles(count, visibilities, dotted=refined_boxes is not None)
    for number, (color, style, alpha) in enumerate(styles):
        place = None
        if boxes is not None and np.any(boxes[number]):
            place = boxes[number]
            _rectangle(ax, place, color, style=style, alpha=alpha)
        if refined_boxes is not None and np.any(refined_boxes[number]):
            refined = refined_boxes[number]
            _rectangle(ax, refined, color, style="solid", alpha=1)
            if place is not None:
                ax.plot([place[1], refined[1]], [place[0], refined[0]], color=color)
            place = refined
        if place is None:
            continue
        if captions is not None:
            ax.text(
                *(place[1], place[0], captions[number]),
                **{"size": 11, "verticalalignment": "top", "color": "w"},
                bbox={"facecolor": color, "alpha": 0.5, "pad": 2, "edgecolor": "none"},
            )
        if masks is not None:
            apply_mask(picture, masks[..., number], color)
            _outline(ax, masks[..., number], color)
    ax.imshow(picture.astype(np.uint8))
    if shown:
        show()


def draw_rois(
    image: np.ndarray,
    rois: np.ndarray,
    refined_rois: np.ndarray,
    mask: np.ndarray,
    class_ids: np.ndarray,
    class_names: Sequence[str],
    limit: int = 10,
) -> None:
    """Draw some regions, drawn by lot, and what they became.

    Parameters
    ----------
    image:
        ``(H, W, 3)``; it is not changed.
    rois, refined_rois:
        ``(N, 4)`` y1 x1 y2 x2, px.
    mask:
        ``(H, W, N)``.
    class_ids:
        ``(N,)``; 0 is a region without an object, which is drawn in grey.
    class_names:
        By class id.
    limit:
        Regions drawn.
    """
    chosen = sorted(random.sample(range(len(rois)), min(limit, len(rois))))
    objects = [number for number in chosen if class_ids[number]]
    print("Positive ROIs: ", int(np.count_nonzero(class_ids)))
    print("Negative ROIs: ", int(np.count_nonzero(np.asarray(class_ids) == 0)))
    refined = np.zeros((len(chosen), 4))
    masks = np.zeros((*image.shape[:2], len(chosen)), bool)
    for place, number in enumerate(chosen):
        if number in objects:
            refined[place], masks[..., place] = refined_rois[number], mask[..., number] != 0
    draw_boxes(
        image,
        rois[chosen],
        refined,
        masks,
        captions=[str(class_names[class_ids[number]]) for number in chosen],
        visibilities=[1 if number in objects else 0 for number in chosen],
        title=f"{len(objects)} of {len(chosen)} regions hold an object",
    )


def _caption(name: str, score: float | None) -> str:
    return name if score is None else f"{name} {score:.3f}"


def _axes(image: np.ndarray, title: str, figsize: tuple[float, float], ax: Any) -> Any:
    """Axes for a picture, with a margin around it."""
    if ax is None:
        _, ax = pyplot().subplots(1, figsize=figsize)
    height, width = image.shape[:2]
    ax.set_ylim(height + _MARGIN, -_MARGIN)
    ax.set_xlim(-_MARGIN, width + _MARGIN)
    ax.axis("off")
    ax.set_title(title)
    return ax


def _rectangle(ax: Any, box: np.ndarray, color: Any, *, style: str, alpha: float) -> None:
    from matplotlib.patches import Rectangle

    y1, x1, y2, x2 = (float(edge) for edge in box)
    look = {"linewidth": 2, "alpha": alpha, "linestyle": style}
    ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, edgecolor=color, facecolor="none", **look))


def _outline(ax: Any, mask: np.ndarray, color: Any) -> None:
    """The outlines of a mask; padded, so that they close at the picture's edge."""
    from matplotlib.patches import Polygon

    for line in find_contours(np.pad(np.asarray(mask, float), 1), 0.5):
        ax.add_patch(Polygon(line[:, ::-1] - 1, facecolor="none", edgecolor=color))


def _styles(
    count: int, visibilities: Sequence[int] | None, *, dotted: bool
) -> Iterator[tuple[Any, str, float]]:
    """Colour, line and opacity of each box."""
    colors = random_colors(count)
    for number, color in enumerate(colors):
        visible = (1 if dotted else 2) if visibilities is None else visibilities[number]
        if visible == 0:
            yield _GREY, "dotted", 0.5
        else:
            yield color, "dotted" if visible == 1 else "solid", 1.0
