"""``Config``: the original's names, values and table."""

import pytest

from vitrail.compat.mrcnn import coco
from vitrail.compat.mrcnn.config import Config

# What the original prints for COCO inference (matterport/Mask_RCNN, commit 3deaec5).
TABLE = """
Configurations:
BACKBONE                       resnet101
BACKBONE_STRIDES               [4, 8, 16, 32, 64]
BATCH_SIZE                     1
BBOX_STD_DEV                   [0.1 0.1 0.2 0.2]
COMPUTE_BACKBONE_SHAPE         None
DETECTION_MAX_INSTANCES        100
DETECTION_MIN_CONFIDENCE       0.7
DETECTION_NMS_THRESHOLD        0.3
FPN_CLASSIF_FC_LAYERS_SIZE     1024
GPU_COUNT                      1
GRADIENT_CLIP_NORM             5.0
IMAGES_PER_GPU                 1
IMAGE_CHANNEL_COUNT            3
IMAGE_MAX_DIM                  1024
IMAGE_META_SIZE                93
IMAGE_MIN_DIM                  800
IMAGE_MIN_SCALE                0
IMAGE_RESIZE_MODE              square
IMAGE_SHAPE                    [1024 1024    3]
LEARNING_MOMENTUM              0.9
LEARNING_RATE                  0.001
LOSS_WEIGHTS                   {'rpn_class_loss': 1.0, 'rpn_bbox_loss': 1.0, \
'mrcnn_class_loss': 1.0, 'mrcnn_bbox_loss': 1.0, 'mrcnn_mask_loss': 1.0}
MASK_POOL_SIZE                 14
MASK_SHAPE                     [28, 28]
MAX_GT_INSTANCES               100
MEAN_PIXEL                     [123.7 116.8 103.9]
MINI_MASK_SHAPE                (56, 56)
NAME                           coco
NUM_CLASSES                    81
POOL_SIZE                      7
POST_NMS_ROIS_INFERENCE        1000
POST_NMS_ROIS_TRAINING         2000
PRE_NMS_LIMIT                  6000
ROI_POSITIVE_RATIO             0.33
RPN_ANCHOR_RATIOS              [0.5, 1, 2]
RPN_ANCHOR_SCALES              (32, 64, 128, 256, 512)
RPN_ANCHOR_STRIDE              1
RPN_BBOX_STD_DEV               [0.1 0.1 0.2 0.2]
RPN_NMS_THRESHOLD              0.7
RPN_TRAIN_ANCHORS_PER_IMAGE    256
STEPS_PER_EPOCH                1000
TOP_DOWN_PYRAMID_SIZE          256
TRAIN_BN                       False
TRAIN_ROIS_PER_IMAGE           200
USE_MINI_MASK                  True
USE_RPN_ROIS                   True
VALIDATION_STEPS               50
WEIGHT_DECAY                   0.0001


"""


class InferenceConfig(coco.CocoConfig):
    GPU_COUNT = 1
    IMAGES_PER_GPU = 1


def test_display_prints_the_original_s_table(capsys: pytest.CaptureFixture[str]) -> None:
    InferenceConfig().display()
    assert capsys.readouterr().out.splitlines() == TABLE.splitlines()


def test_values_of_a_subclass_decide_what_is_computed() -> None:
    class Shapes(Config):
        NAME = "shapes"
        GPU_COUNT = 2
        IMAGES_PER_GPU = 4
        NUM_CLASSES = 4
        IMAGE_MAX_DIM = 128

    config = Shapes()
    assert config.BATCH_SIZE == 8
    assert config.IMAGE_META_SIZE == 16
    assert config.IMAGE_SHAPE.tolist() == [128, 128, 3]

    class Crops(Shapes):
        IMAGE_RESIZE_MODE = "crop"
        IMAGE_MIN_DIM = 64

    assert Crops().IMAGE_SHAPE.tolist() == [64, 64, 3]


def test_changing_a_configuration_leaves_its_class_alone() -> None:
    config = coco.CocoConfig()
    config.LOSS_WEIGHTS["rpn_class_loss"] = 3.0
    config.BACKBONE_STRIDES.append(128)
    config.MEAN_PIXEL[0] = 0
    fresh = coco.CocoConfig()
    assert fresh.LOSS_WEIGHTS["rpn_class_loss"] == 1.0
    assert fresh.BACKBONE_STRIDES == [4, 8, 16, 32, 64]
    assert fresh.MEAN_PIXEL[0] == 123.7


def test_what_a_reader_adds_is_shown_and_functions_are_not() -> None:
    class Mine(Config):
        EXTRA = 5

        def helper(self) -> None: ...

    shown = Mine().to_dict()
    assert shown["EXTRA"] == 5
    assert "helper" not in shown
    assert list(shown) == sorted(shown)
