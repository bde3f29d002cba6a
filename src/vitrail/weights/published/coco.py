"""COCO's categories of objects, and the orders in which published networks have them.

From https://github.com/cocodataset/cocoapi, ``instances_val2017.json``: eighty categories with ids
up to 90. Ten ids were planned and never annotated.
"""

from __future__ import annotations

COCO_IDS: dict[int, str] = dict(
    zip(
        (
            *range(1, 12),
            *range(13, 26),
            *(27, 28),
            *range(31, 45),
            *range(46, 66),
            *(67, 70),
            *range(72, 83),
            *range(84, 91),
        ),
        (
            *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck"),
            *("boat", "traffic light", "fire hydrant", "stop sign", "parking meter", "bench"),
            *("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra"),
            *("giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis"),
            *("snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard"),
            *("surfboard", "tennis racket", "bottle", "wine glass", "cup", "fork", "knife"),
            *("spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli", "carrot"),
            *("hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed"),
            *("dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard"),
            *("cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book"),
            *("clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush"),
        ),
        strict=True,
    )
)
"""The categories' names by their id."""

COCO_CLASSES: tuple[str, ...] = tuple(COCO_IDS.values())
"""The eighty in the order of their ids, as detectron2 and matterport have them."""

COCO_CLASSES_WITH_GAPS: tuple[str, ...] = tuple(
    COCO_IDS.get(number, f"unused {number}") for number in range(1, 91)
)
"""One for each id from 1 to 90, as torchvision's networks have them; those for which there are no
photographs are called ``unused``."""
