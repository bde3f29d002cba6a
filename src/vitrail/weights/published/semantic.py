"""Cards of the semantic networks that torchvision publishes.

Its six sets (https://github.com/pytorch/vision): URL, size, score and beginning of the checksum are
those of its weights' metadata in version 0.29.2. They were trained on the photographs of COCO 2017
with the twenty categories that are Pascal VOC's too, and are fed with the short side at 520 px,
antialiased, without padding.
"""

from __future__ import annotations

from vitrail.weights.card import Card, Download, Licences, Preprocessing, Score

_VOC = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
    *("sheep", "sofa", "train", "tvmonitor"),
)
"""Pascal VOC's classes, in its order; torchvision calls the first ``__background__``."""

_PREPROCESSING = Preprocessing(
    image_size=520,
    resize="short-side",
    interpolation="antialias",
    pad=False,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)

_LICENCES = Licences(
    code="Apache-2.0 (ours); the weights were made with torchvision, BSD-3-Clause",
    weights="as torchvision (BSD-3-Clause), no terms of their own; trained on COCO's photographs",
    training_data="COCO 2017: annotations CC BY 4.0, photographs under Flickr's terms of use",
)

_RECIPES = "https://github.com/pytorch/vision/tree/main/references/segmentation"


def _card(
    name: str,
    summary: str,
    architecture: str,
    arguments: dict[str, object],
    file: str,
    mebibytes: float,
    recipe: str,
    mean_iou: float,
    pixel_accuracy: float,
) -> Card:
    """A set of torchvision's; its scores are percentages there, and the sizes rounded."""
    return Card(
        name=name,
        summary=f"{summary}: 20 everyday classes of photographs (Pascal VOC's)",
        architecture=architecture,
        arguments={**arguments, "classes": len(_VOC)},
        classes=_VOC,
        background=0,
        preprocessing=_PREPROCESSING,
        training_data="COCO 2017 train, images with a Pascal VOC category and their labels",
        training_command=f"torchvision's, see {_RECIPES}#{recipe}",
        licences=_LICENCES,
        scores=(
            Score(
                dataset="COCO 2017 with Pascal VOC labels",
                split="val",
                protocol="as torchvision published it (not measured by us): pooled over all "
                "pixels, short side at 520 px, labels resized likewise",
                values={
                    "mean_iou": round(mean_iou / 100, 4),
                    "pixel_accuracy": round(pixel_accuracy / 100, 4),
                },
                command=f"torchvision's references/segmentation/train.py --test-only, {_RECIPES}",
            ),
        ),
        limits="whatever is none of the 20 classes is background",
        download=Download(
            url=f"https://download.pytorch.org/models/{file}",
            file=file,
            size=round(mebibytes * 2**20),
            size_within=2**20 // 1000,
            sha256=file.removesuffix(".pth").rpartition("-")[2],
            layout="torchvision",
        ),
    )


def _resnet(architecture: str, encoder: str) -> dict[str, object]:
    arguments: dict[str, object] = {"encoder": encoder, "output_stride": 8, "auxiliary": True}
    return arguments | ({"rates": _RATES} if architecture == "deeplab-v3" else {})


_RATES = (12, 24, 36)
_MOBILE: dict[str, object] = {"encoder": "mobilenetv3_large_100", "torchvision": True}

SEMANTIC: tuple[Card, ...] = (
    _card(
        "fcn-resnet50-coco",
        "FCN over ResNet-50",
        "fcn-dilated",
        _resnet("fcn-dilated", "resnet50"),
        "fcn_resnet50_coco-1167a1af.pth",
        135.009,
        "fcn_resnet50",
        60.5,
        91.4,
    ),
    _card(
        "fcn-resnet101-coco",
        "FCN over ResNet-101",
        "fcn-dilated",
        _resnet("fcn-dilated", "resnet101"),
        "fcn_resnet101_coco-7ecb50ca.pth",
        207.711,
        "deeplabv3_resnet101",
        63.7,
        91.9,
    ),
    _card(
        "deeplabv3-resnet50-coco",
        "DeepLabv3 over ResNet-50",
        "deeplab-v3",
        _resnet("deeplab-v3", "resnet50"),
        "deeplabv3_resnet50_coco-cd0a2569.pth",
        160.515,
        "deeplabv3_resnet50",
        66.4,
        92.4,
    ),
    _card(
        "deeplabv3-resnet101-coco",
        "DeepLabv3 over ResNet-101",
        "deeplab-v3",
        _resnet("deeplab-v3", "resnet101"),
        "deeplabv3_resnet101_coco-586e9e4e.pth",
        233.217,
        "fcn_resnet101",
        67.4,
        92.4,
    ),
    _card(
        "deeplabv3-mobilenetv3-coco",
        "DeepLabv3 over MobileNetV3",
        "deeplab-v3",
        {**_MOBILE, "auxiliary": True, "rates": _RATES},
        "deeplabv3_mobilenet_v3_large-fc3c493d.pth",
        42.301,
        "deeplabv3_mobilenet_v3_large",
        60.3,
        91.2,
    ),
    _card(
        "lraspp-mobilenetv3-coco",
        "LR-ASPP over MobileNetV3, the fastest",
        "lraspp",
        _MOBILE,
        "lraspp_mobilenet_v3_large-d234d4ea.pth",
        12.49,
        "lraspp_mobilenet_v3_large",
        57.9,
        91.2,
    ),
)
