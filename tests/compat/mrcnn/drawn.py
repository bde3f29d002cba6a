"""A small data set drawn by code, and a small network's settings."""

import numpy as np

from vitrail.compat.mrcnn import utils
from vitrail.compat.mrcnn.config import Config

SIDE = 64


class SmallConfig(Config):
    NAME = "Shapes"
    GPU_COUNT = 1
    IMAGES_PER_GPU = 2
    NUM_CLASSES = 1 + 2
    BACKBONE = "mobilenetv2_050"
    TOP_DOWN_PYRAMID_SIZE = 16
    FPN_CLASSIF_FC_LAYERS_SIZE = 32
    RPN_ANCHOR_SCALES = (8, 16, 32, 48, 64)
    MASK_POOL_SIZE = 7
    MASK_SHAPE = [14, 14]  # noqa: RUF012 - as a reader writes it
    IMAGE_MIN_DIM = SIDE
    IMAGE_MAX_DIM = SIDE
    TRAIN_ROIS_PER_IMAGE = 16
    PRE_NMS_LIMIT = 200
    POST_NMS_ROIS_TRAINING = 64
    POST_NMS_ROIS_INFERENCE = 32
    STEPS_PER_EPOCH = 2
    VALIDATION_STEPS = 1


class SmallInferenceConfig(SmallConfig):
    IMAGES_PER_GPU = 1
    DETECTION_MIN_CONFIDENCE = 0.0


class Shapes(utils.Dataset):
    """Bright squares and darker bars on noise."""

    def load_shapes(self, count: int, seed: int, side: int = SIDE) -> None:
        self.add_class("shapes", 1, "square")
        self.add_class("shapes", 2, "bar")
        rng = np.random.default_rng(seed)
        for number in range(count):
            boxes = []
            for class_id, (height, width) in ((1, (20, 20)), (2, (8, 30))):
                y, x = rng.integers(0, side - height), rng.integers(0, side - width)
                boxes.append((class_id, y, x, y + height, x + width))
            self.add_image("shapes", f"{seed}-{number}", None, boxes=boxes, side=side)

    def load_image(self, image_id: int) -> np.ndarray:
        info = self.image_info[image_id]
        rng = np.random.default_rng(image_id)
        image = rng.integers(0, 60, (info["side"], info["side"], 3)).astype(np.uint8)
        for class_id, y1, x1, y2, x2 in info["boxes"]:
            image[y1:y2, x1:x2] = (230, 220, 90) if class_id == 1 else (90, 130, 240)
        return image

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        info = self.image_info[image_id]
        masks = np.zeros((info["side"], info["side"], len(info["boxes"])), bool)
        for place, (_, y1, x1, y2, x2) in enumerate(info["boxes"]):
            masks[y1:y2, x1:x2, place] = True
        return masks, np.array([box[0] for box in info["boxes"]], np.int32)


def shapes(count: int, seed: int = 0, side: int = SIDE) -> Shapes:
    dataset = Shapes()
    dataset.load_shapes(count, seed, side)
    dataset.prepare()
    return dataset
