"""``model``: molding, loading, detecting; on a small network of our own."""

import copy
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import vitrail
import vitrail.compat.mrcnn.model as modellib
from tests.compat.mrcnn.drawn import SmallConfig, SmallInferenceConfig, shapes
from vitrail.compat.mrcnn import coco, utils
from vitrail.compat.mrcnn._network import arguments_of
from vitrail.compat.mrcnn.config import Config
from vitrail.errors import (
    ParameterError,
    SourceError,
    UnknownNameError,
    VitrailError,
    WeightsError,
)
from vitrail.models.maskrcnn.arguments import MaskRCNNArguments
from vitrail.models.maskrcnn.families import FAMILIES


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> modellib.MaskRCNN:
    """Finds something everywhere: its box head prefers the second class, and its masks are full."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("logs")
    made = modellib.MaskRCNN("inference", folder, SmallInferenceConfig(), device="cpu")
    with torch.no_grad():
        made.network.get_parameter("box_predictor.scores.bias")[2] = 3.0
        made.network.get_parameter("mask_head.logits.bias").fill_(3.0)
    return made


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def test_detect_returns_what_the_original_does(model: modellib.MaskRCNN) -> None:
    image = photo(40, 50)
    (found,) = model.detect([image])
    assert list(found) == ["rois", "class_ids", "scores", "masks"]
    count = len(found["rois"])
    assert count > 0
    assert found["rois"].shape == (count, 4) and found["rois"].dtype == np.int32
    assert found["class_ids"].shape == (count,) and found["class_ids"].dtype == np.int32
    assert found["scores"].shape == (count,) and found["scores"].dtype == np.float32
    assert found["masks"].shape == (40, 50, count) and found["masks"].dtype == bool
    assert set(found["class_ids"].tolist()) == {2}
    y1, x1, y2, x2 = found["rois"].T
    assert (y1 < y2).all() and (x1 < x2).all() and y2.max() <= 40 and x2.max() <= 50
    # Full masks fill their boxes: the order y1 x1 y2 x2 is right.
    assert np.array_equal(utils.extract_bboxes(found["masks"]), found["rois"])
    assert (np.diff(found["scores"]) <= 0).all()


def test_detect_tells_shapes_as_the_original_does(
    model: modellib.MaskRCNN, capsys: pytest.CaptureFixture[str]
) -> None:
    image = np.zeros((32, 64, 3), np.uint8)
    image[0, 0] = 255
    model.detect([image], verbose=1)
    assert capsys.readouterr().out.splitlines() == [
        "Processing 1 images",
        "image                    shape: (32, 64, 3)           min:    0.00000  max:  255.00000"
        "  uint8",
        "molded_images            shape: (1, 64, 64, 3)        min: -123.70000  max:  151.10000"
        "  float64",
        "image_metas              shape: (1, 15)               min:    0.00000  max:   64.00000"
        "  float64",
        "anchors                  shape: (1, 1023, 4)          min:   -0.71833  max:    1.10520"
        "  float32",
    ]


def test_several_images_get_what_each_gets_alone(model: modellib.MaskRCNN) -> None:
    images = [photo(64, 64, 1), photo(30, 60, 2), photo(64, 20, 3)]
    together = model.detect(images)
    model.config.BATCH_SIZE = 2
    paired = model.detect(images)
    model.config.BATCH_SIZE = 1
    for one, other, image in zip(together, paired, images, strict=True):
        assert one["masks"].shape[:2] == image.shape[:2]
        assert np.array_equal(one["rois"], other["rois"])
        assert one["scores"] == pytest.approx(other["scores"], abs=1e-5)


def test_molded_images_are_detected_in_their_own_frame(model: modellib.MaskRCNN) -> None:
    image = photo(64, 64, 4)
    molded, metas, windows = model.mold_inputs([image])
    assert windows.tolist() == [[0, 0, 64, 64]]
    (direct,), (again,) = model.detect([image]), model.detect_molded(molded, metas)
    assert np.array_equal(direct["rois"], again["rois"])


def test_an_image_of_another_kind_is_refused(model: modellib.MaskRCNN) -> None:
    with pytest.raises(ParameterError, match=r"\(20, 20\)"):
        model.detect([np.zeros((20, 20), np.uint8)])
    with pytest.raises(ParameterError, match="4"):
        model.detect([np.zeros((20, 20, 4), np.uint8)])
    assert model.detect([]) == []


def test_only_the_mode_that_was_asked_for(tmp_path: Path, model: modellib.MaskRCNN) -> None:
    training = modellib.MaskRCNN("training", tmp_path, SmallConfig())
    with pytest.raises(ParameterError, match="mode='inference'"):
        training.detect([photo(64, 64)])
    with pytest.raises(ParameterError, match="mode='training'"):
        model.train(shapes(1), shapes(1), 0.1, 1, "all")
    with pytest.raises(ParameterError, match="'test'"):
        modellib.MaskRCNN("test", tmp_path, SmallConfig())


def test_saved_weights_are_a_model_of_vitrail(
    model: modellib.MaskRCNN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.safetensors"
    model.save(path)
    image = photo(40, 50)
    (compat,) = model.detect([image])
    result = vitrail.load(path, device="cpu", precision="float32")(image)
    # The faster network behind vitrail.load rounds otherwise: boxes may move by a pixel.
    assert len(result) == len(compat["rois"])
    assert result.class_ids.tolist() == (compat["class_ids"] - 1).tolist()
    assert result.scores == pytest.approx(compat["scores"], abs=1e-3)
    overlaps = utils.compute_overlaps(result.boxes[:, [1, 0, 3, 2]], compat["rois"])
    assert overlaps.max(axis=1).min() > 0.8
    assert overlaps.max(axis=1).mean() > 0.99

    fresh = modellib.MaskRCNN("inference", tmp_path, SmallInferenceConfig(), device="cpu")
    fresh.load_weights(path)
    (loaded,) = fresh.detect([image])
    assert np.array_equal(loaded["rois"], compat["rois"])
    with pytest.raises(ParameterError, match="safetensors"):
        model.save(tmp_path / "mine.h5")


def test_heads_can_be_left_out_for_other_classes(model: modellib.MaskRCNN, tmp_path: Path) -> None:
    path = tmp_path / "two.safetensors"
    model.save(path)

    class FiveClasses(SmallConfig):
        NUM_CLASSES = 6

    other = modellib.MaskRCNN("training", tmp_path, FiveClasses(), device="cpu")
    heads = ["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"]
    before = copy.deepcopy(other.network.state_dict())
    with pytest.raises(WeightsError, match=r"mrcnn_class_logits.*exclude="):
        other.load_weights(path, by_name=True)
    after = other.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)  # nothing half-loaded

    other.load_weights(path, by_name=True, exclude=heads)
    given = model.network.state_dict()
    for name, value in other.network.state_dict().items():
        own = name.startswith(("box_predictor.", "mask_head.logits."))
        assert torch.equal(value, before[name] if own else given[name]), name
    with pytest.raises(UnknownNameError, match="mrcnn_mask"):
        other.load_weights(path, exclude=["mrcnn_masks"])
    with pytest.raises(WeightsError, match=r"absent\.safetensors"):
        other.load_weights(tmp_path / "absent.safetensors", by_name=True)


def test_weights_that_lack_something_are_told_of(model: modellib.MaskRCNN, tmp_path: Path) -> None:
    path = tmp_path / "all.safetensors"
    model.save(path)

    other = modellib.MaskRCNN("inference", tmp_path, SmallInferenceConfig(), device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other.load_weights(path, by_name=True)
    tensors = load_file(path)
    some = {name: value for name, value in tensors.items() if not name.startswith("rpn.")}
    save_file({**some, "mask_head.extra": torch.zeros(1)}, tmp_path / "some.safetensors")
    with pytest.warns(UserWarning) as caught:
        other.load_weights(tmp_path / "some.safetensors", by_name=True)
    told = " ".join(str(one.message) for one in caught)
    assert "rpn_conv_shared" in told and "mask_head.extra" in told
    with pytest.raises(WeightsError, match="rpn"):
        other.load_weights(tmp_path / "some.safetensors")
    save_file({"other": torch.zeros(1)}, tmp_path / "none.safetensors")
    with pytest.raises(WeightsError, match="no weights of this network"):
        other.load_weights(tmp_path / "none.safetensors", by_name=True)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"BACKBONE": lambda image: image}, "BACKBONE"),
        ({"BACKBONE": "resnet_fifty"}, "resnet_fifty"),
        ({"NUM_CLASSES": 1}, "NUM_CLASSES"),
        ({"BACKBONE_STRIDES": [4, 8, 16, 32]}, "BACKBONE_STRIDES"),
        ({"RPN_ANCHOR_STRIDE": 2}, "RPN_ANCHOR_STRIDE"),
        ({"MASK_SHAPE": [28, 28]}, "MASK_POOL_SIZE"),
        ({"USE_RPN_ROIS": False}, "USE_RPN_ROIS"),
        ({"IMAGE_CHANNEL_COUNT": 4}, "MEAN_PIXEL"),
        ({"IMAGE_MAX_DIM": 100}, "such as 128"),
        ({"RPN_ANCHOR_SCALES": (8, 16)}, "anchors.sizes"),
        ({"TOP_DOWN_PYRAMID_SIZE": 0}, "pyramid_channels"),
    ],
)
def test_settings_that_cannot_be_followed(tmp_path: Path, changes: dict, told: str) -> None:
    config: Config = type("Mine", (SmallConfig,), changes)()
    for name, value in changes.items():
        setattr(config, name, value)  # a function in a class would be a method
    with pytest.raises(VitrailError, match=told):
        modellib.MaskRCNN("inference", tmp_path, config)


def test_settings_become_the_network_s_arguments() -> None:
    # The original's own defaults are the family that its published weights are loaded as.
    family = MaskRCNNArguments.model_validate({**FAMILIES["matterport"], "classes": 80})
    assert MaskRCNNArguments.model_validate(arguments_of(coco.CocoConfig())) == family

    class Mine(SmallConfig):
        RPN_ANCHOR_RATIOS = [0.25, 1]  # noqa: RUF012
        BBOX_STD_DEV = np.array([0.1, 0.2, 0.25, 0.5])
        TRAIN_BN = None

    made = MaskRCNNArguments.model_validate(arguments_of(Mine()))
    assert made.anchors.ratios == (4, 1)  # width / height to height / width
    assert made.box_delta_scale == (5, 10, 2, 4)  # dy dx dh dw to dx dy dw dh
    assert not made.frozen_norm


def test_metas_can_be_taken_apart_again() -> None:
    meta = modellib.compose_image_meta(
        7, (480, 640, 3), (1024, 1024, 3), (128, 0, 896, 1024), 1.6, [1, 0, 1]
    )
    assert meta.shape == (15,)
    parts = modellib.parse_image_meta(meta[None])
    assert parts["image_id"].tolist() == [7]
    assert parts["original_image_shape"].tolist() == [[480, 640, 3]]
    assert parts["image_shape"].tolist() == [[1024, 1024, 3]]
    assert parts["window"].tolist() == [[128, 0, 896, 1024]]
    assert parts["scale"] == pytest.approx([1.6])
    assert parts["active_class_ids"].tolist() == [[1, 0, 1]]


def test_the_mean_is_taken_off_and_put_back() -> None:
    image, config = photo(4, 5), Config()
    molded = modellib.mold_image(image, config)
    assert molded.dtype == np.float64
    assert molded[0, 0] == pytest.approx(image[0, 0] - [123.7, 116.8, 103.9])
    assert np.abs(modellib.unmold_image(molded, config).astype(int) - image).max() <= 1


def test_unmold_detections_go_to_the_image_and_lose_what_has_no_area(
    model: modellib.MaskRCNN,
) -> None:
    # An image of 32 x 64 in the middle of 64 x 64: window 16 0 48 64.
    boxes = np.array([[16, 0, 48, 64], [20, 10, 30, 20], [20, 10, 20, 30], [16, 0, 48, 64]])
    shares = utils.norm_boxes(boxes, (64, 64))
    detections = np.column_stack([shares, [2, 1, 1, 0], [0.9, 0.8, 0.7, 0]])
    masks = np.ones((4, 14, 14, 3), np.float32)
    rois, class_ids, scores, full = model.unmold_detections(
        detections, masks, (32, 64, 3), (64, 64, 3), (16, 0, 48, 64)
    )
    assert rois.tolist() == [[0, 0, 32, 64], [4, 10, 14, 20]]
    assert class_ids.tolist() == [2, 1]
    assert scores.tolist() == [0.9, 0.8]
    assert full.shape == (32, 64, 2) and full[..., 0].all()
    assert full[..., 1].sum() == 100


def test_images_with_their_truth_as_the_network_sees_them() -> None:
    config = SmallConfig()
    dataset = shapes(2, side=32)
    image, meta, class_ids, boxes, masks = modellib.load_image_gt(dataset, config, 1)
    assert image.shape == (64, 64, 3)
    assert class_ids.tolist() == [1, 2]
    assert masks.shape == (64, 64, 2) and masks.dtype == bool
    assert np.array_equal(utils.extract_bboxes(masks), boxes)
    parts = modellib.parse_image_meta(meta[None])
    assert parts["image_id"].tolist() == [1]
    assert parts["original_image_shape"].tolist() == [[32, 32, 3]]
    assert parts["scale"].tolist() == [2]
    assert parts["active_class_ids"].tolist() == [[1, 1, 1]]
    *_, mini = modellib.load_image_gt(dataset, config, 1, use_mini_mask=True)
    assert mini.shape == (56, 56, 2)
    with pytest.raises(ParameterError, match="train"):
        modellib.load_image_gt(dataset, config, 1, augmentation=object())


def test_flips_exchange_left_and_right_of_image_and_masks() -> None:
    config, dataset = SmallConfig(), shapes(1)
    plain, _, _, _, mask = modellib.load_image_gt(dataset, config, 0)
    seen = {}
    for _ in range(40):
        image, _, _, _, other = modellib.load_image_gt(dataset, config, 0, augment=True)
        mirrored = np.array_equal(image, plain[:, ::-1])
        assert mirrored or np.array_equal(image, plain)
        assert np.array_equal(other, mask[:, ::-1] if mirrored else mask)
        seen[mirrored] = True
    assert seen == {True: True, False: True}


def test_sizes_of_the_pyramid() -> None:
    sizes = modellib.compute_backbone_shapes(Config(), (100, 1024, 3))
    assert sizes.tolist() == [[25, 256], [13, 128], [7, 64], [4, 32], [2, 16]]


def test_no_weights_of_a_training_yet(model: modellib.MaskRCNN) -> None:
    with pytest.raises(SourceError, match=r"shapes\*"):
        model.find_last()


def test_imagenet_weights_offline(
    model: modellib.MaskRCNN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VITRAIL_OFFLINE", "1")
    monkeypatch.setenv("VITRAIL_CACHE", str(tmp_path))
    with pytest.raises(SourceError) as caught:
        model.get_imagenet_weights()
    told = str(caught.value)
    assert "notop.h5" in told and "https://" in told and str(tmp_path) in told
    with pytest.raises(SourceError, match=r"mask_rcnn_coco\.h5"):
        utils.download_trained_weights(tmp_path / "mask_rcnn_coco.h5")
    assert not list(tmp_path.iterdir())
