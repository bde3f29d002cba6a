"""Weights laid out as matterport's Mask R-CNN has them, drawn small, and written as Keras does."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}


def heads(
    *,
    classes: int = 4,
    pyramid: int = 8,
    rpn: int = 8,
    box: int = 10,
    pooled: int = 7,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """All but the encoder, by names such as ``rpn_class_raw/kernel:0``; background included."""
    dice = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {}

    def layer(name: str, *shape: int, norm: str = "", outputs: int = 0) -> None:
        width = outputs or shape[-1]
        spread = (2 / np.prod(shape[:-1])) ** 0.5
        arrays[f"{name}/kernel:0"] = dice.normal(0, spread, shape).astype(np.float32)
        arrays[f"{name}/bias:0"] = dice.normal(0, 0.3, width).astype(np.float32)
        if norm:
            drawn_norm(arrays, norm, width, dice)

    for stage, width in zip((2, 3, 4, 5), (256, 512, 1024, 2048), strict=True):
        layer(f"fpn_c{stage}p{stage}", 1, 1, width, pyramid)
        layer(f"fpn_p{stage}", 3, 3, pyramid, pyramid)
    layer("rpn_conv_shared", 3, 3, pyramid, rpn)
    layer("rpn_class_raw", 1, 1, rpn, 6)
    layer("rpn_bbox_pred", 1, 1, rpn, 12)
    layer("mrcnn_class_conv1", pooled, pooled, pyramid, box, norm="mrcnn_class_bn1")
    layer("mrcnn_class_conv2", 1, 1, box, box, norm="mrcnn_class_bn2")
    layer("mrcnn_class_logits", box, classes)
    layer("mrcnn_bbox_fc", box, 4 * classes)
    for number in (1, 2, 3, 4):
        layer(f"mrcnn_mask_conv{number}", 3, 3, pyramid, pyramid, norm=f"mrcnn_mask_bn{number}")
    layer("mrcnn_mask_deconv", 2, 2, pyramid, pyramid)
    layer("mrcnn_mask", 1, 1, pyramid, classes)
    return arrays


def encoder(resnet: str = "resnet50") -> dict[str, np.ndarray]:
    """A ResNet whose kernels hold one number each, and take no memory until they are written."""
    dice = np.random.default_rng(1)
    arrays: dict[str, np.ndarray] = {}

    def layer(name: str, norm: str, *shape: int) -> None:
        arrays[f"{name}/kernel:0"] = np.broadcast_to(np.float32(dice.normal()), shape)
        arrays[f"{name}/bias:0"] = dice.normal(0, 0.3, shape[-1]).astype(np.float32)
        drawn_norm(arrays, norm, shape[-1], dice)

    layer("conv1", "bn_conv1", 7, 7, 3, 64)
    inputs = 64
    for stage, inner, count in zip((2, 3, 4, 5), (64, 128, 256, 512), BLOCKS[resnet], strict=True):
        for block in range(count):
            name = f"{stage}{chr(97 + block)}_branch"
            layer(f"res{name}2a", f"bn{name}2a", 1, 1, inputs, inner)
            layer(f"res{name}2b", f"bn{name}2b", 3, 3, inner, inner)
            layer(f"res{name}2c", f"bn{name}2c", 1, 1, inner, 4 * inner)
            if block == 0:
                layer(f"res{name}1", f"bn{name}1", 1, 1, inputs, 4 * inner)
            inputs = 4 * inner
    return arrays


def drawn_norm(
    arrays: dict[str, np.ndarray], name: str, width: int, dice: np.random.Generator
) -> None:
    """A batch norm that changes what passes; small variances tell one epsilon from another."""
    arrays[f"{name}/gamma:0"] = dice.uniform(0.3, 0.8, width).astype(np.float32)
    arrays[f"{name}/beta:0"] = dice.normal(0, 0.2, width).astype(np.float32)
    arrays[f"{name}/moving_mean:0"] = dice.normal(0, 0.1, width).astype(np.float32)
    arrays[f"{name}/moving_variance:0"] = dice.uniform(0.01, 1, width).astype(np.float32)


def write_h5(path: Path, arrays: Mapping[str, np.ndarray], keras: str = "2.0.8") -> Path:
    """As ``save_weights`` of a version of Keras does: ``2.0.8`` or ``2.15.0``."""
    import h5py

    groups: dict[str, list[str]] = {"input_image": []}  # Keras lists layers without weights too
    for name in arrays:
        layer = name.partition("/")[0]
        groups.setdefault("rpn_model" if layer.startswith("rpn_") else layer, []).append(name)
    old = keras == "2.0.8"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array(list(groups), "S") if old else list(groups)
        file.attrs["backend"] = b"tensorflow" if old else "tensorflow"
        file.attrs["keras_version"] = keras.encode() if old else keras
        if not old:
            file.create_group("top_level_model_weights").attrs["weight_names"] = []
        for group, names in groups.items():
            inside = file.create_group(group)
            inside.attrs["weight_names"] = np.array(names, "S") if old and names else names
            for name in names:
                inside.create_dataset(name, data=arrays[name])
    return path
