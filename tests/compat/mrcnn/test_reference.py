"""matterport's Mask R-CNN (commit 3deaec5, TensorFlow 2.15): the same numbers through its calls.

What is compared with was recorded from the original (:mod:`tests.recorded_matterport`).
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.io

import vitrail.compat.mrcnn.model as modellib
from tests.recorded_matterport import recorded_folder, share_equal, unpacked
from vitrail.compat.mrcnn import coco, utils
from vitrail.compat.mrcnn._molding import unmold_detections

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def folder() -> Path:
    return recorded_folder()


@pytest.fixture(scope="module")
def units(folder: Path) -> dict[str, np.ndarray]:
    return dict(np.load(folder / "units.npz"))


def test_images_are_resized_to_the_last_bit(folder: Path, units: dict[str, np.ndarray]) -> None:
    logged = json.loads((folder / "units_log.json").read_text())
    cases = {name: settings for name, settings, *_ in logged if str(name).startswith("resize")}
    assert len(cases) == 9
    for name, settings in cases.items():
        image, window, scale, padding, crop = utils.resize_image(units[f"{name}_in"], **settings)
        assert np.array_equal(image, units[f"{name}_out"]) and image.dtype == np.uint8
        assert tuple(window) == tuple(units[f"{name}_window"])
        assert scale == units[f"{name}_scale"]
        assert np.array_equal(padding, units[f"{name}_padding"])
        assert crop is None


@pytest.mark.parametrize("number", range(6))
def test_masks_go_back_to_their_boxes(number: int, units: dict[str, np.ndarray]) -> None:
    expected = units[f"unmold{number}_out"]
    found = utils.unmold_mask(
        units[f"unmold{number}_mask28"], units[f"unmold{number}_box"], expected.shape
    )
    assert np.array_equal(found, expected)


def test_boxes_as_shares_of_the_frame(units: dict[str, np.ndarray]) -> None:
    assert np.array_equal(utils.norm_boxes(units["norm_in"], (512, 768)), units["norm_out"])
    assert np.array_equal(utils.denorm_boxes(units["denorm_in"], (491, 640)), units["denorm_out"])


@pytest.mark.parametrize(
    ("name", "size"), [("small", (512, 512)), ("full", (1024, 1024)), ("pad64_448x640", (448, 640))]
)
def test_anchors(name: str, size: tuple[int, int], units: dict[str, np.ndarray]) -> None:
    config = coco.CocoConfig()
    anchors = utils.generate_pyramid_anchors(
        config.RPN_ANCHOR_SCALES,
        config.RPN_ANCHOR_RATIOS,
        modellib.compute_backbone_shapes(config, size),
        config.BACKBONE_STRIDES,
        config.RPN_ANCHOR_STRIDE,
    )
    assert len(anchors) == units[f"anchors_{name}_count"]
    assert np.array_equal(anchors[::997], units[f"anchors_{name}_px_sample"])
    shares = utils.norm_boxes(anchors, size)[::997]
    assert np.array_equal(shares, units[f"anchors_{name}_norm_sample"])


def test_detections_go_to_the_image(units: dict[str, np.ndarray]) -> None:
    height, width, count = units["unmoldet_masks_shape"]
    detections, small = units["unmoldet_det"], units["unmoldet_mask_sel"]
    masks = np.zeros((len(detections), 28, 28, 81), np.float32)
    masks[np.arange(count), :, :, detections[:count, 4].astype(int)] = small
    rois, class_ids, scores, full = unmold_detections(
        detections, masks, (height, width, 3), (512, 512, 3), (59, 0, 452, 512)
    )
    assert np.array_equal(rois, units["unmoldet_rois"]) and rois.dtype == np.int32
    assert np.array_equal(class_ids, units["unmoldet_class_ids"])
    assert np.array_equal(scores, units["unmoldet_scores"])
    expected = unpacked(units["unmoldet_masks_packed"], height, width)
    assert np.array_equal(full, expected.transpose(1, 2, 0))


class InferenceConfig(coco.CocoConfig):
    GPU_COUNT = 1
    IMAGES_PER_GPU = 1
    BACKBONE = "resnet50"
    IMAGE_MIN_DIM = 400
    IMAGE_MAX_DIM = 512


@pytest.mark.parametrize("layout", ["keras208", "keras215"])
def test_detections_of_a_photo(layout: str, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    path = tmp_path / "mask_rcnn_small.h5"
    kit = [sys.executable, folder / "kitgen.py", "small", path, "--layout", layout]
    subprocess.run(kit, check=True)
    config = InferenceConfig()
    model = modellib.MaskRCNN(mode="inference", model_dir=tmp_path, config=config, device="cpu")
    model.load_weights(path, by_name=True)
    (found,) = model.detect([skimage.io.imread(folder / "small_img0.png")])
    stages = dict(np.load(folder / "small_img0.npz"))
    masks = found["masks"].transpose(2, 0, 1)
    equal = share_equal(stages, found["class_ids"], found["rois"], found["scores"], masks)
    assert equal >= 0.97
