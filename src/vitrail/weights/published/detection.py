"""Cards of published networks that find objects: torchvision's, detectron2's and matterport's.

All were trained on COCO 2017, or its forerunner of 2014. What each project publishes of its files:

- torchvision (https://github.com/pytorch/vision): URL, size, scores and the checksum's beginning,
  here from its weights' metadata in version 0.29.2.
- detectron2 (https://github.com/facebookresearch/detectron2, ``MODEL_ZOO.md``): URL, scores and the
  first six digits of the md5, in the file's name; no size. The sizes are those of the networks'
  float32 tensors (177,797,824 and 253,975,232 bytes), which is also what logs of its users show to
  the nearest million.
- matterport (https://github.com/matterport/Mask_RCNN/releases/tag/v2.0): URL only. The size is the
  one that downloads have been logged with, and that the file says of itself.
"""

from __future__ import annotations

from vitrail.models.maskrcnn.families import FAMILIES, MOBILENET_PROPOSALS
from vitrail.weights.card import Card, Download, Licences, Preprocessing, Score
from vitrail.weights.published.coco import COCO_CLASSES, COCO_CLASSES_WITH_GAPS

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_BYTES = (1 / 255, 1 / 255, 1 / 255)
"""The standard deviation of values that are centred and not scaled."""

_TORCHVISION_INPUT = Preprocessing(
    image_size=800,
    resize="short-side",
    max_side=1333,
    interpolation="bilinear",
    pad_value="mean",
    mean=_IMAGENET_MEAN,
    std=(0.229, 0.224, 0.225),
)
_DETECTRON2_INPUT = Preprocessing(
    image_size=800,
    resize="short-side",
    max_side=1333,
    rounding="nearest",
    interpolation="antialias",
    pad_value="mean",
    mean=_IMAGENET_MEAN,
    std=_BYTES,
)
_MATTERPORT_INPUT = Preprocessing(
    image_size=1024,
    resize="square",
    min_side=800,
    interpolation="skimage",
    mean=(123.7 / 255, 116.8 / 255, 103.9 / 255),
    std=_BYTES,
)

_COCO_DATA = "annotations CC BY 4.0, photographs under Flickr's terms of use"
_OUR_CODE = "Apache-2.0 (ours); the weights were made with"


def _score(project: str, values: dict[str, float], command: str) -> tuple[Score, ...]:
    """What a project says of its weights, in percent."""
    return (
        Score(
            dataset="COCO 2017",
            split="val",
            protocol=f"as {project} published it (not measured by us): COCO's AP over IoU 0.50 to "
            "0.95, 100 objects an image",
            values={name: round(value / 100, 4) for name, value in values.items()},
            command=command,
        ),
    )


def _torchvision(
    name: str,
    function: str,
    family: str,
    file: str,
    mebibytes: float,
    recipe: str,
    scores: dict[str, float],
    *,
    encoder: str = "ResNet-50",
    fed: Preprocessing = _TORCHVISION_INPUT,
    more: dict[str, object] | None = None,
) -> Card:
    """A set of torchvision's; its sizes are rounded to a thousandth of a MiB."""
    masks = "mask_ap" in scores
    kind, architecture = ("Mask", "mask-rcnn") if masks else ("Faster", "faster-rcnn")
    better = ", newer heads and training" if family.endswith("v2") else ""
    return Card(
        name=name,
        summary=f"{kind} R-CNN over {encoder}{better} (torchvision): 80 everyday classes of COCO",
        architecture=architecture,
        arguments={
            **FAMILIES[family],
            **(more or {}),
            "classes": len(COCO_CLASSES_WITH_GAPS),
            "masks": masks,
        },
        classes=COCO_CLASSES_WITH_GAPS,
        preprocessing=fed,
        training_data="COCO 2017 train",
        training_command=f"torchvision's, see {recipe}",
        licences=Licences(
            code=f"{_OUR_CODE} torchvision, BSD-3-Clause",
            weights="as torchvision (BSD-3-Clause), no terms of their own; trained on COCO's "
            "photographs",
            training_data=f"COCO 2017: {_COCO_DATA}",
        ),
        scores=_score(
            "torchvision",
            scores,
            f"torchvision's references/detection/train.py --model {function} --test-only",
        ),
        limits="ten of its 90 outputs are COCO's ids without photographs (unused 12, ...) and "
        "are not learnt",
        download=Download(
            url=f"https://download.pytorch.org/models/{file}",
            file=file,
            size=round(mebibytes * 2**20),
            size_within=2**20 // 1000,
            sha256=file.removesuffix(".pth").rpartition("-")[2],
            layout="torchvision-detection",
        ),
    )


def _detectron2(
    name: str,
    encoder: str,
    config: str,
    number: int,
    md5: str,
    megabytes: int,
    scores: dict[str, float],
) -> Card:
    """A set of detectron2's model zoo; nothing but the beginning of the md5 is published of it."""
    depth = encoder.removeprefix("resnet")
    folder = "https://dl.fbaipublicfiles.com/detectron2/COCO-InstanceSegmentation"
    file = f"configs/COCO-InstanceSegmentation/{config}.yaml"
    command = f"detectron2's tools/train_net.py --config-file {file}"
    return Card(
        name=name,
        summary=f"Mask R-CNN over ResNet-{depth} (detectron2): 80 everyday classes of COCO",
        architecture="mask-rcnn",
        arguments={**FAMILIES["detectron2"], "encoder": encoder, "classes": len(COCO_CLASSES)},
        classes=COCO_CLASSES,
        preprocessing=_DETECTRON2_INPUT,
        training_data="COCO 2017 train",
        training_command=f"{command}, 8 GPUs",
        licences=Licences(
            code=f"{_OUR_CODE} detectron2, Apache-2.0",
            weights="CC BY-SA 3.0 (detectron2's model zoo); trained on COCO's photographs",
            training_data=f"COCO 2017: {_COCO_DATA}",
        ),
        scores=_score("detectron2's model zoo", scores, f"{command} --eval-only"),
        limits="its file's size is not published, only six digits of its md5: damage shows, "
        "another file made to look like it would not (nothing in it can run all the same)",
        download=Download(
            url=f"{folder}/{config}/{number}/model_final_{md5}.pkl",
            file=f"model_final_{md5}.pkl",
            size=megabytes * 10**6,
            size_within=500_000,
            md5=md5,
            layout="detectron2",
        ),
    )


_MATTERPORT = Card(
    name="maskrcnn-resnet101-matterport-coco",
    summary="Mask R-CNN over ResNet-101 (matterport): 80 everyday classes of COCO",
    architecture="mask-rcnn",
    arguments={**FAMILIES["matterport"], "encoder": "resnet101", "classes": len(COCO_CLASSES)},
    classes=COCO_CLASSES,
    preprocessing=_MATTERPORT_INPUT,
    training_data="COCO 2014: train, and val but for 5,000 images (samples/coco/coco.py)",
    training_command="matterport's samples/coco/coco.py train --dataset=DIR --model=imagenet",
    licences=Licences(
        code=f"{_OUR_CODE} matterport Mask_RCNN, MIT",
        weights="as matterport Mask_RCNN (MIT), no terms of their own; trained on COCO's "
        "photographs",
        training_data=f"COCO 2014: {_COCO_DATA}",
    ),
    limits="no score is stated here: its publishers' stand on their releases page and could not "
    "be confirmed; no checksum of the file is published, so only its size is verified",
    download=Download(
        url="https://github.com/matterport/Mask_RCNN/releases/download/v2.0/mask_rcnn_coco.h5",
        file="mask_rcnn_coco.h5",
        size=257_557_808,
        layout="matterport",
    ),
)

_RECIPES = "https://github.com/pytorch/vision/tree/main/references/detection"

DETECTION: tuple[Card, ...] = (
    _torchvision(
        "maskrcnn-resnet50-fpn-coco",
        "maskrcnn_resnet50_fpn",
        "torchvision",
        "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth",
        169.84,
        f"{_RECIPES}#mask-r-cnn",
        {"box_ap": 37.9, "mask_ap": 34.6},
    ),
    _torchvision(
        "maskrcnn-resnet50-fpn-v2-coco",
        "maskrcnn_resnet50_fpn_v2",
        "torchvision-v2",
        "maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth",
        177.219,
        "https://github.com/pytorch/vision/pull/5773",
        {"box_ap": 47.4, "mask_ap": 41.8},
    ),
    _torchvision(
        "fasterrcnn-resnet50-fpn-coco",
        "fasterrcnn_resnet50_fpn",
        "torchvision",
        "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth",
        159.743,
        f"{_RECIPES}#faster-r-cnn-resnet-50-fpn",
        {"box_ap": 37.0},
    ),
    _torchvision(
        "fasterrcnn-resnet50-fpn-v2-coco",
        "fasterrcnn_resnet50_fpn_v2",
        "torchvision-v2",
        "fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth",
        167.104,
        "https://github.com/pytorch/vision/pull/5763",
        {"box_ap": 46.7},
    ),
    _torchvision(
        "fasterrcnn-mobilenetv3-fpn-coco",
        "fasterrcnn_mobilenet_v3_large_fpn",
        "torchvision-mobilenet",
        "fasterrcnn_mobilenet_v3_large_fpn-fb6a3cc7.pth",
        74.239,
        f"{_RECIPES}#faster-r-cnn-mobilenetv3-large-fpn",
        {"box_ap": 32.8},
        encoder="MobileNetV3",
    ),
    _torchvision(
        "fasterrcnn-mobilenetv3-320-fpn-coco",
        "fasterrcnn_mobilenet_v3_large_320_fpn",
        "torchvision-mobilenet",
        "fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth",
        74.239,
        f"{_RECIPES}#faster-r-cnn-mobilenetv3-large-320-fpn",
        {"box_ap": 22.8},
        encoder="MobileNetV3, at 320 px",
        fed=_TORCHVISION_INPUT.model_copy(update={"image_size": 320, "max_side": 640}),
        more={"proposals": {**MOBILENET_PROPOSALS, "candidates": 150, "kept": 150}},
    ),
    _detectron2(
        "maskrcnn-resnet50-detectron2-coco",
        "resnet50",
        "mask_rcnn_R_50_FPN_3x",
        137849600,
        "f10217",
        178,
        {"box_ap": 41.0, "mask_ap": 37.2},
    ),
    _detectron2(
        "maskrcnn-resnet101-detectron2-coco",
        "resnet101",
        "mask_rcnn_R_101_FPN_3x",
        138205316,
        "a3ec72",
        254,
        {"box_ap": 42.9, "mask_ap": 38.6},
    ),
    _MATTERPORT,
)
