"""matterport's layers under our names: each compared with what Keras computes, written in NumPy."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.drawn_matterport import encoder, heads, write_h5
from vitrail.errors import UnknownNameError, WeightsError
from vitrail.models.registry import build
from vitrail.weights.files import check_state
from vitrail.weights.importers.matterport import (
    HEADS,
    Matterport,
    from_matterport,
    read_matterport,
    read_whole_matterport,
)

CLASSES = 4


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return heads(classes=CLASSES)


@pytest.fixture(scope="module")
def found(arrays: dict[str, np.ndarray]) -> Matterport:
    return from_matterport(arrays)


def keras_norm(x: np.ndarray, arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    """A batch norm over the last axis; Keras's epsilon is 1e-3."""
    gamma, beta, mean, variance = (
        arrays[f"{name}/{what}:0"].astype(np.float64)
        for what in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    return gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta


def keras_dense(x: np.ndarray, arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    """What a layer makes of a region that it covers: ``(..., in)`` to ``(..., out)``."""
    kernel = arrays[f"{name}/kernel:0"].astype(np.float64)
    return np.tensordot(x, kernel, x.ndim) + arrays[f"{name}/bias:0"]


def same(ours: torch.Tensor, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-4, atol=1e-5)


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).normal(size=shape).astype(np.float32)


def test_the_box_head(arrays: dict[str, np.ndarray], found: Matterport) -> None:
    region = drawn(7, 7, 8)
    theirs = np.maximum(
        keras_norm(keras_dense(region, arrays, "mrcnn_class_conv1"), arrays, "mrcnn_class_bn1"), 0
    )
    theirs = keras_norm(
        keras_dense(theirs[None, None], arrays, "mrcnn_class_conv2"), arrays, "mrcnn_class_bn2"
    )
    theirs = np.maximum(theirs, 0)
    state = found.tensors
    ours = torch.from_numpy(region).permute(2, 0, 1).flatten()[None]
    for layer in (0, 1):
        weight, bias = (state[f"box_head.layers.{layer}.{of}"] for of in ("weight", "bias"))
        ours = F.relu(F.linear(ours, weight, bias))
    same(ours[0], theirs)
    scores = F.linear(ours, *of(state, "box_predictor.scores"))[0]
    same(scores, keras_dense(theirs, arrays, "mrcnn_class_logits"))
    deltas = F.linear(ours, *of(state, "box_predictor.deltas")).view(-1, 4)
    y, x, h, w = keras_dense(theirs, arrays, "mrcnn_bbox_fc").reshape(CLASSES, 4)[1:].T
    same(deltas, np.stack([x, y, w, h], 1))


def test_the_proposal_head(arrays: dict[str, np.ndarray], found: Matterport) -> None:
    point = drawn(8)
    ours = torch.from_numpy(point).view(1, 8, 1, 1)
    pairs = keras_dense(point[None, None], arrays, "rpn_class_raw").reshape(3, 2)
    softmax = np.exp(pairs) / np.exp(pairs).sum(1, keepdims=True)
    same(F.conv2d(ours, *of(found.tensors, "rpn.objectness")).sigmoid()[0, :, 0, 0], softmax[:, 1])
    y, x, h, w = keras_dense(point[None, None], arrays, "rpn_bbox_pred").reshape(3, 4).T
    deltas = F.conv2d(ours, *of(found.tensors, "rpn.deltas")).view(3, 4)
    same(deltas, np.stack([x, y, w, h], 1))


def test_the_mask_head(arrays: dict[str, np.ndarray], found: Matterport) -> None:
    state = found.tensors
    window = drawn(3, 3, 8)
    theirs = keras_norm(keras_dense(window, arrays, "mrcnn_mask_conv2"), arrays, "mrcnn_mask_bn2")
    ours = F.conv2d(
        torch.from_numpy(window).permute(2, 0, 1)[None], *of(state, "mask_head.convs.1")
    )
    same(ours[0, :, 0, 0], theirs)

    point = drawn(8)
    kernel = arrays["mrcnn_mask_deconv/kernel:0"].astype(np.float64)
    # Of each input point four output points, one for each place of the kernel.
    grown = kernel @ point + arrays["mrcnn_mask_deconv/bias:0"]
    ours = F.conv_transpose2d(
        torch.from_numpy(point).view(1, 8, 1, 1), *of(state, "mask_head.upsample"), stride=2
    )
    same(ours[0].permute(1, 2, 0), grown)
    logits = F.conv2d(torch.from_numpy(point).view(1, 8, 1, 1), *of(state, "mask_head.logits"))
    same(logits[0, :, 0, 0], keras_dense(point[None, None], arrays, "mrcnn_mask")[1:])


def test_the_encoder_takes_biases_off_the_means() -> None:
    arrays = encoder()
    arrays["res3a_branch1/kernel:0"] = drawn(1, 1, 256, 512)
    state = from_matterport(arrays).tensors
    point = drawn(256)
    theirs = keras_norm(
        keras_dense(point[None, None], arrays, "res3a_branch1"), arrays, "bn3a_branch1"
    )
    name = "encoder.net.layer2.0.downsample"
    norm = [state[f"{name}.1.{of}"] for of in ("running_mean", "running_var", "weight", "bias")]
    ours = F.conv2d(torch.from_numpy(point).view(1, 256, 1, 1), state[f"{name}.0.weight"])
    same(F.batch_norm(ours, *norm, eps=1e-3)[0, :, 0, 0], theirs)
    assert f"{name}.0.bias" not in state


@pytest.mark.parametrize("resnet", ["resnet50", "resnet101"])
def test_a_whole_file_fits_the_network(resnet: str, arrays: dict[str, np.ndarray]) -> None:
    found = from_matterport(encoder(resnet) | arrays)
    assert found.missing == ()
    assert found.arguments["encoder"] == resnet and found.arguments["classes"] == CLASSES - 1
    with torch.device("meta"):
        check_state(build("mask-rcnn", found.arguments), found.tensors, "the file")


def test_heads_are_left_out_by_name(arrays: dict[str, np.ndarray], found: Matterport) -> None:
    kept = from_matterport(arrays, exclude=HEADS)
    gone = {"box_predictor.scores", "box_predictor.deltas", "mask_head.logits"}
    assert {name.rpartition(".")[0] for name in found.tensors.keys() - kept.tensors.keys()} == gone
    assert not gone & set(kept.missing)
    proposals = from_matterport(arrays, exclude=["rpn_model", "mrcnn_class_bn1"]).tensors
    dropped = {name.rpartition(".")[0] for name in found.tensors.keys() - proposals.keys()}
    assert dropped == {"rpn.convs.0", "rpn.objectness", "rpn.deltas", "box_head.layers.0"}


def test_a_layer_that_there_is_not_is_no_layer_to_leave_out(arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(UnknownNameError, match=r"'mrcnn_masks'.*mrcnn_mask"):
        from_matterport(arrays, exclude=["mrcnn_masks"])


def test_missing_heads_are_told(arrays: dict[str, np.ndarray]) -> None:
    rest = {name: values for name, values in arrays.items() if not name.startswith("mrcnn_")}
    found = from_matterport(rest)
    assert "mrcnn_mask" in found.missing and "rpn_class_raw" not in found.missing
    assert "conv1" in found.missing  # and no encoder is there
    assert "classes" not in found.arguments
    assert any(name.startswith("rpn.") for name in found.tensors)


@pytest.mark.parametrize(
    "name, values, message",
    [
        (
            "mrcnn_bbox_fc/kernel:0",
            np.zeros((10, 12), np.float32),
            r"\(10, 12\), expected \(10, 16",
        ),
        ("mrcnn_mask_conv2/bias:0", None, "no bias of mrcnn_mask_conv2"),
        ("mrcnn_mask_bn2/gamma:0", None, "no gamma of mrcnn_mask_bn2, though mrcnn_mask_conv2"),
        ("rpn_class_raw/kernel:0", np.zeros((1, 1, 8, 10), np.float32), "expected .1, 1, 8, 6"),
        ("mrcnn_class_logits/kernel:0", np.zeros((10, 1), np.float32), "one class.*background"),
        ("mrcnn_class_bn2/moving_variance:0", -np.ones(10, np.float32), "bn2 is negative"),
        ("res2a_branch2a/kernel:0", np.zeros((1, 1, 64, 64), np.float32), r"\(1, 0, 0, 0\) blocks"),
    ],
)
def test_what_does_not_fit_is_named(
    name: str, values: np.ndarray | None, message: str, arrays: dict[str, np.ndarray]
) -> None:
    changed = {**arrays, name: values}
    with pytest.raises(WeightsError, match=message):
        from_matterport({key: value for key, value in changed.items() if value is not None})


def test_another_network_is_none_of_matterports() -> None:
    with pytest.raises(WeightsError, match=r"no layer of matterport's.*but block1_conv1"):
        from_matterport({"block1_conv1/kernel:0": np.zeros((3, 3, 3, 64), np.float32)})


def equal(one: Matterport, two: Matterport) -> bool:
    same_tensors = one.tensors.keys() == two.tensors.keys() and all(
        torch.equal(values, two.tensors[name]) for name, values in one.tensors.items()
    )
    return same_tensors and one.arguments == two.arguments and one.missing == two.missing


@pytest.mark.parametrize("keras", ["2.0.8", "2.15.0"])
def test_files_of_both_kerases(
    keras: str, arrays: dict[str, np.ndarray], found: Matterport, tmp_path: Path
) -> None:
    path = write_h5(tmp_path / "x.h5", arrays, keras)
    assert equal(read_matterport(path), found)
    assert equal(read_matterport(path, exclude=HEADS), from_matterport(arrays, exclude=HEADS))


def test_a_file_of_save_and_of_a_second_network_in_a_session(
    arrays: dict[str, np.ndarray], found: Matterport, tmp_path: Path
) -> None:
    import h5py

    plain = write_h5(tmp_path / "plain.h5", arrays)
    with h5py.File(plain) as source, h5py.File(tmp_path / "x.h5", "w") as file:
        source.copy(source["/"], file, "model_weights")
        file["model_weights/mrcnn_mask"].move("mrcnn_mask", "mrcnn_mask_1")
        file["model_weights/rpn_model"].move("rpn_bbox_pred", "rpn_bbox_pred_2")
        file["optimizer_weights/SGD/mrcnn_mask/momentum:0"] = np.zeros(3, np.float32)
        file["optimizer_weights/SGD/rpn_model/momentum:0"] = np.zeros(3, np.float32)
    assert equal(read_matterport(tmp_path / "x.h5"), found)


def test_two_arrays_for_one_are_refused(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    import h5py

    path = write_h5(tmp_path / "x.h5", arrays)
    with h5py.File(path, "a") as file:
        file["mrcnn_mask/mrcnn_mask_1/bias:0"] = np.zeros(CLASSES, np.float32)
    with pytest.raises(WeightsError, match=r"x\.h5: .*mrcnn_mask_1.* are both bias of mrcnn_mask"):
        read_matterport(path)


def test_a_whole_network_must_be_whole(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    whole = encoder() | arrays
    found = read_whole_matterport(write_h5(tmp_path / "whole.h5", whole, "2.15.0"))
    assert equal(found, from_matterport(whole))
    with pytest.raises(WeightsError, match=r"heads\.h5: lacks the layers conv1;"):
        read_whole_matterport(write_h5(tmp_path / "heads.h5", arrays))


def test_a_misfit_in_a_file_names_the_file(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    wrong = {**arrays, "rpn_class_raw/kernel:0": np.zeros((1, 1, 8, 10), np.float32)}
    with pytest.raises(WeightsError, match=r"x\.h5: kernel of rpn_class_raw has shape"):
        read_matterport(write_h5(tmp_path / "x.h5", wrong))
    nan = {**arrays, "mrcnn_mask/bias:0": np.full(CLASSES, np.nan, np.float32)}
    with pytest.raises(WeightsError, match=r"y\.h5: mrcnn_mask/mrcnn_mask/bias:0: .*no finite"):
        read_matterport(write_h5(tmp_path / "y.h5", nan))


def of(state: dict[str, torch.Tensor], name: str) -> tuple[torch.Tensor, torch.Tensor]:
    return state[f"{name}.weight"], state[f"{name}.bias"]
