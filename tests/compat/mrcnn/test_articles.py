"""The calls that articles about matterport's Mask R-CNN show, with their import lines changed."""

from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import pytest
import torch

import vitrail.compat.mrcnn.model as modellib
from tests.compat.mrcnn.drawn import SmallConfig

IMPORTS = """
import os
import numpy as np
import skimage.io
import matplotlib.pyplot as plt
from vitrail.compat.mrcnn import utils, visualize, coco
import vitrail.compat.mrcnn.model as modellib
"""

DETECT = """
ROOT_DIR = os.path.abspath("./")
MODEL_DIR = os.path.join(ROOT_DIR, "logs")
COCO_MODEL_PATH = os.path.join(ROOT_DIR, WEIGHTS)
if not os.path.exists(COCO_MODEL_PATH):
    utils.download_trained_weights(COCO_MODEL_PATH)

class InferenceConfig(Base):
    GPU_COUNT = 1
    IMAGES_PER_GPU = 1

config = InferenceConfig()
config.display()
model = modellib.MaskRCNN(mode="inference", model_dir=MODEL_DIR, config=config)
model.load_weights(COCO_MODEL_PATH, by_name=True)

image = skimage.io.imread(os.path.join(ROOT_DIR, "photo.png"))
plt.figure(figsize=(12, 10))
plt.imshow(image)
results = model.detect([image], verbose=1)
r = results[0]
visualize.display_instances(
    image, r['rois'], r['masks'], r['class_ids'], class_names, r['scores']
)
mask = r['masks']
mask = mask.astype(int)
print(mask.shape)
for i in range(mask.shape[2]):
    temp = skimage.io.imread('photo.png')
    for j in range(temp.shape[2]):
        temp[:, :, j] = temp[:, :, j] * mask[:, :, i]
"""

TRAIN = """
from vitrail.compat.mrcnn.config import Config

class BoxConfig(Base):
    NAME = "boxes"
    STEPS_PER_EPOCH = 1
    VALIDATION_STEPS = 1

class BoxDataset(utils.Dataset):
    def load_boxes(self, count, height, width):
        self.add_class("boxes", 1, "box")
        self.add_class("boxes", 2, "frame")
        for i in range(count):
            self.add_image("boxes", image_id=i, path=None, width=width, height=height)

    def load_image(self, image_id):
        info = self.image_info[image_id]
        image = np.zeros([info['height'], info['width'], 3], dtype=np.uint8)
        image[10:30, 10:30] = 200
        return image

    def image_reference(self, image_id):
        info = self.image_info[image_id]
        if info["source"] == "boxes":
            return info["id"]
        else:
            return super().image_reference(image_id)

    def load_mask(self, image_id):
        info = self.image_info[image_id]
        mask = np.zeros([info['height'], info['width'], 1], dtype=np.uint8)
        mask[10:30, 10:30, 0] = 1
        return mask.astype(bool), np.array([1], dtype=np.int32)

dataset_train = BoxDataset()
dataset_train.load_boxes(4, 64, 64)
dataset_train.prepare()
dataset_val = BoxDataset()
dataset_val.load_boxes(2, 64, 64)
dataset_val.prepare()

image_ids = np.random.choice(dataset_train.image_ids, 2)
for image_id in image_ids:
    image = dataset_train.load_image(image_id)
    mask, class_ids = dataset_train.load_mask(image_id)
    visualize.display_top_masks(image, mask, class_ids, dataset_train.class_names)

config = BoxConfig()
model = modellib.MaskRCNN(mode="training", config=config, model_dir="logs")
model.load_weights(WEIGHTS, by_name=True,
                   exclude=["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"])
model.train(dataset_train, dataset_val, learning_rate=config.LEARNING_RATE, epochs=1,
            layers='heads')
model.train(dataset_train, dataset_val, learning_rate=config.LEARNING_RATE / 10, epochs=2,
            layers="all")

class InferenceConfig(BoxConfig):
    GPU_COUNT = 1
    IMAGES_PER_GPU = 1
    DETECTION_MIN_CONFIDENCE = 0

inference_config = InferenceConfig()
model = modellib.MaskRCNN(mode="inference", config=inference_config, model_dir="logs")
model_path = model.find_last()
model.load_weights(model_path, by_name=True)

original_image, image_meta, gt_class_id, gt_bbox, gt_mask = modellib.load_image_gt(
    dataset_val, inference_config, dataset_val.image_ids[0], use_mini_mask=False)
modellib.log("original_image", original_image)
modellib.log("image_meta", image_meta)
visualize.display_instances(original_image, gt_bbox, gt_mask, gt_class_id,
                            dataset_train.class_names, figsize=(8, 8))
results = model.detect([original_image], verbose=1)
r = results[0]
molded_images = np.expand_dims(modellib.mold_image(original_image, inference_config), 0)
AP, precisions, recalls, overlaps = utils.compute_ap(
    gt_bbox, gt_class_id, gt_mask, r["rois"], r["class_ids"], r["scores"], r['masks'])
print("mAP: ", np.mean([AP]))
"""


@pytest.fixture(autouse=True)
def no_screen() -> None:
    matplotlib.use("Agg")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a photo and the weights of a small network."""
    rng = np.random.default_rng(0)
    cv2.imwrite(str(tmp_path / "photo.png"), rng.integers(0, 256, (50, 60, 3)).astype(np.uint8))
    torch.manual_seed(0)
    model = modellib.MaskRCNN("inference", tmp_path, SmallConfig())
    with torch.no_grad():
        model.network.get_parameter("box_predictor.scores.bias")[1] = 5.0
    model.save(tmp_path / "weights.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {
        "Base": SmallConfig,
        "WEIGHTS": "weights.safetensors",
        "class_names": ["BG", "square", "bar"],
    }
    exec(compile(IMPORTS + code, "article", "exec"), names)
    return names


@pytest.mark.usefixtures("folder")
def test_objects_of_a_photo(capsys: pytest.CaptureFixture[str]) -> None:
    names = run(DETECT)
    count = len(names["r"]["rois"])
    assert count > 0
    told = capsys.readouterr().out.splitlines()
    assert told[1] == "Configurations:"
    assert "Processing 1 images" in told
    assert told[-1] == f"(50, 60, {count})"
    assert not names["temp"][names["mask"][..., -1] == 0].any()


@pytest.mark.usefixtures("folder")
def test_training_on_objects_of_one_s_own(capsys: pytest.CaptureFixture[str]) -> None:
    names = run(TRAIN)
    assert Path(names["model_path"]).name == "mask_rcnn_boxes_0002.safetensors"
    assert names["model"].epoch == 2
    assert capsys.readouterr().out.splitlines()[-1].startswith("mAP:  ")
