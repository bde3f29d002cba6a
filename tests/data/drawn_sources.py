"""Sample sources drawn by code: bright objects on dark noise, so that pixels tell their labels."""

import cv2
import numpy as np

from tests.drawn import discs
from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.result.masks import Masks

BRIGHT = 120
"""Objects are brighter than this in their brightest channel, the noise is darker."""


class DrawnLabels:
    """Eight pictures of 64 x 64 px, each with a disc (1) or a square (2)."""

    space = LabelSpace(("background", "disc", "square"), 0, 255)

    @property
    def ids(self) -> list[str]:
        return [str(index) for index in range(8)]

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Sample:
        image, labels = discs(8)[index]
        return Sample(str(index), image, (64, 64), labels, unlabelled=frozenset({2}))


class DrawnObjects:
    """Pictures of 72 x 96 px with up to six objects, some of which overlap, a crowd and a bare box.

    Object n of any picture is drawn in the brightness 170 + 15 n, in its own pixels only.
    """

    space = LabelSpace(("disc", "square", "ring"))
    size = (72, 96)

    def __init__(self, number: int = 8) -> None:
        self.number = number

    @property
    def ids(self) -> list[str]:
        return [str(index) for index in range(self.number)]

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng(index)
        image = rng.integers(0, 90, (*self.size, 3)).astype(np.uint8)
        objects = []
        for number in range(index % 5):
            mask = np.zeros(self.size, np.uint8)
            y, x = int(rng.integers(12, 60)), int(rng.integers(12, 84))
            radius = int(rng.integers(5, 12))
            class_id = number % 3
            if class_id == 1:
                mask[y - radius : y + radius, x - radius : x + radius] = 1
            else:
                cv2.circle(mask, (x, y), radius, 1, -1 if class_id == 0 else 3)
            image[mask > 0] = 170 + 15 * number
            stored = Masks.from_dense(mask[None])
            objects.append(Instance.from_masks(class_id, stored, crowd=number == 3))
        if index % 2:
            objects.append(Instance.from_box(2, (2.0, 3.0, 12.4, 13.0), self.size))
            image[3:13, 2:12] = 230
        return Sample(
            str(index), image, self.size, instances=tuple(objects), unlabelled=frozenset({1})
        )
