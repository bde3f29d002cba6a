"""The original U-Net: the figure's sizes, and tiles that are the whole."""

from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
import torch

from tests.models.as_predicted import share_of_equal_labels
from vitrail.errors import ConfigError, ParameterError
from vitrail.models.registry import build
from vitrail.models.valid_unet import OverlapTileUNet, ValidUNet, mirrored


def unet(**arguments: object) -> OverlapTileUNet:
    torch.manual_seed(0)
    model = build("unet-original", {"classes": 2, "start": 4, "in_channels": 1, **arguments})
    assert isinstance(model, OverlapTileUNet)
    return model.eval()


def seen_sizes(model: OverlapTileUNet, images: torch.Tensor) -> list[tuple[int, ...]]:
    """Sizes of what the bare network is given, one after the other."""
    sizes: list[tuple[int, ...]] = []
    hook = model.net.register_forward_pre_hook(lambda _, x: sizes.append(x[0].shape[-2:]))
    with torch.inference_mode():
        model(images)
    hook.remove()
    return sizes


def test_572_px_become_388() -> None:
    """Figure 1 of arXiv:1505.04597: the sizes at the bottom, after each level, and the channels."""
    with torch.device("meta"):
        model = build("unet-original", {"classes": 2, "in_channels": 1})
        assert isinstance(model, OverlapTileUNet)
        net, shapes = model.net, []
        for level in (*net.down, net.bottom, *net.up):
            level.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[1:])))
        logits = net(torch.empty(1, 1, 572, 572))
    assert logits.shape == (1, 2, 388, 388) and net.margin == 92
    down = [(64, 568), (128, 280), (256, 136), (512, 64), (1024, 28)]
    up = [(512, 52), (256, 100), (128, 196), (64, 388)]
    assert shapes == [(channels, side, side) for channels, side in down + up]


def test_the_parameters_are_those_of_the_figure() -> None:
    """23 layers with weights, as the paper counts them: 31,030,658 parameters."""
    with torch.device("meta"):
        model = build("unet-original", {"classes": 2, "in_channels": 1})
    levels = [1, 64, 128, 256, 512, 1024]
    layers = []
    for below, width in pairwise(levels):
        layers += [(9 * below + 1) * width, (9 * width + 1) * width]
    for width in (512, 256, 128, 64):
        layers += [(4 * 2 * width + 1) * width]  # the up-convolution
        layers += [(9 * 2 * width + 1) * width, (9 * width + 1) * width]
    layers += [(64 + 1) * 2]
    assert len(layers) == 23
    assert sum(p.numel() for p in model.parameters()) == sum(layers) == 31_030_658


def test_dropout_ends_the_contracting_path() -> None:
    """After the two deepest levels, at a rate of a half, and nowhere else."""
    model = unet()
    widths: list[int] = []
    model.net.dropout.register_forward_hook(lambda _, x, __: widths.append(x[0].shape[1]))
    with torch.inference_mode():
        model(torch.randn(1, 1, 8, 8))
    assert widths == [32, 64] and model.net.dropout.p == 0.5
    assert [m for m in model.modules() if isinstance(m, torch.nn.Dropout)] == [model.net.dropout]


def test_a_level_reads_the_middle_of_its_skip() -> None:
    """Shifting the image by a whole step shifts the logits: nothing depends on the border."""
    model = unet()
    images = torch.randn(1, 1, 188 + 48, 188 + 48)
    with torch.inference_mode():
        whole, shifted = model.net(images), model.net(images[..., 16:, 32:])
    torch.testing.assert_close(whole[..., 16:, 32:], shifted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(150, 211), (60, 84), (61, 30), (133, 1)])
def test_tiles_are_the_whole(size: tuple[int, int]) -> None:
    torch.manual_seed(1)
    images = torch.randn(2, 1, *size)
    whole, tiled = unet(tile=388), unet(tile=70)
    tiled.load_state_dict(whole.state_dict())
    with torch.inference_mode():
        expected, logits = whole(images).logits, tiled(images).logits
    assert (logits - expected).abs().max() < 1e-5 * expected.abs().max()
    assert len(seen_sizes(tiled, images)) == np.prod([-(-side // 64) for side in size])
    assert len(seen_sizes(whole, images)) == 1


def test_memory_is_that_of_a_tile() -> None:
    sizes = seen_sizes(unet(tile=100), torch.zeros(1, 1, 700, 500))
    assert len(sizes) == 8 * 6 and max(max(size) for size in sizes) == 100 + 2 * 92


def test_training_sees_the_image_in_one_piece() -> None:
    assert len(seen_sizes(unet(tile=20).train(), torch.zeros(1, 1, 40, 40))) == 1


def test_the_border_is_mirrored() -> None:
    """As NumPy's "reflect" pads it; images smaller than the margin are mirrored again and again."""
    model = unet()
    for size in ((116, 100), (20, 36), (4, 4), (2, 3)):
        images = torch.randn(1, 1, *size)
        # To the next size that the network predicts (4, 20, 36, ...), and 92 px around it.
        extra = [4 + max(0, -(-(side - 4) // 16)) * 16 - side for side in size]
        pads = [(0, 0), (0, 0), *((92, 92 + more) for more in extra)]
        padded = torch.from_numpy(np.pad(images.numpy(), pads, mode="reflect"))
        with torch.inference_mode():
            expected = model.net(padded)[..., : size[0], : size[1]]
            torch.testing.assert_close(model(images).logits, expected)


@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_mirrored_places(length: int) -> None:
    expected = np.pad(np.arange(length), 20, mode="reflect")
    np.testing.assert_array_equal(mirrored(-20, length + 20, length), expected)


@pytest.mark.parametrize("size", [(184, 188), (188, 196), (100, 188), (188, 190)])
def test_sizes_that_the_bare_network_cannot_take(size: tuple[int, int]) -> None:
    with pytest.raises(ParameterError, match=rf"got {size[0]} x {size[1]} px, expected.*188.*16"):
        unet().net(torch.zeros(1, 1, *size))


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_margin_and_step_hold_at_any_depth(depth: int) -> None:
    net = ValidUNet([2 * 2**level for level in range(depth + 1)], 1, 2, 0.0)
    for side in (4, 4 + net.step):
        with torch.inference_mode():
            logits = net(torch.zeros(1, 1, side + 2 * net.margin, side + 2 * net.margin))
        assert logits.shape[-2:] == (side, side)


def test_a_tile_that_is_too_small_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"tile=19: expected 20 px or more with 4 poolings"):
        unet(tile=19)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_predicts_as_it_computes(precision: Literal["float32", "bfloat16"]) -> None:
    model = unet(in_channels=3, classes=3, depth=2, tile=60)
    equal = share_of_equal_labels(model, "unet-original", precision)
    assert equal > (0.999 if precision == "float32" else 0.95)
