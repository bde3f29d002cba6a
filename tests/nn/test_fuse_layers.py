"""Fused convolutions answer as the plain ones: at any size, in any thread, after copying."""

import copy
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.nn.test_fuse import scramble
from vitrail.models.registry import build
from vitrail.nn.fuse import fold_batch_norms, fuse_activations
from vitrail.nn.fuse_layers import (
    NOTHING,
    RELU,
    RELU6,
    AddedConv2d,
    FusedAddedConv2d,
    FusedConv2d,
    FusedConvTranspose2d,
)
from vitrail.nn.fuse_upsampling import fold_upsampling
from vitrail.nn.precision import cast_for_inference

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="needs a torch with oneDNN"
)
ACTIVATIONS = {"none": (NOTHING, lambda x: x), "relu": (RELU, F.relu), "relu6": (RELU6, F.relu6)}
SIZES = [(64, 64), (96, 64), (64, 128), (65, 70)]


def stages(decoder: str, dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    """A network as it is loaded for the CPU, before and after its last stage."""
    torch.manual_seed(0)
    model = scramble(build("unet", {"classes": 3, "decoder": decoder}))
    example = torch.randn(1, 3, 64, 64)
    folded = fold_upsampling(fold_batch_norms(model, example), example)
    ready = cast_for_inference(folded, dtype, example).to(memory_format=torch.channels_last)
    return ready, fuse_activations(ready, example)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(8, 12, 3, stride=2, padding=1),
        nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8, bias=False),
        nn.Conv2d(8, 8, 3, padding=8, dilation=8, groups=8, bias=False),
        nn.Conv2d(8, 8, (3, 5), padding=(3, 14), dilation=(3, 7), groups=8),
        nn.ConvTranspose2d(8, 12, 4, stride=2, padding=1),
        nn.ConvTranspose2d(8, 12, 3, stride=2, padding=1, output_padding=1, bias=False),
        nn.ConvTranspose2d(8, 8, 3, stride=2, groups=2),
    ],
    ids=str,
)
@torch.inference_mode()
def test_one_convolution(conv: nn.Conv2d | nn.ConvTranspose2d, activation: str) -> None:
    kind, function = ACTIVATIONS[activation]
    wrapper = FusedConv2d if isinstance(conv, nn.Conv2d) else FusedConvTranspose2d
    fused = wrapper(conv, kind)
    for shape in ((1, 8, 9, 7), (3, 8, 9, 7), (1, 8, 20, 6), (1, 8, 9, 7)):
        x = 8 * torch.randn(shape)
        torch.testing.assert_close(fused(x), function(conv(x)), rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_an_added_convolution() -> None:
    conv = AddedConv2d(8, 12, 3, padding=1, bias=False)
    fused = FusedAddedConv2d(conv)
    for size in ((9, 7), (4, 5)):
        x, y = torch.randn(2, 8, *size), torch.randn(2, 12, *size)
        expected = F.relu(y + F.conv2d(x, conv.weight, padding=1))
        torch.testing.assert_close(conv(y, x), expected)
        torch.testing.assert_close(fused(y.clone(), x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("decoder", ["plain", "pix2pix"])
@torch.inference_mode()
def test_a_network_is_fused_and_sizes_may_change(decoder: str, dtype: torch.dtype) -> None:
    ready, fused = stages(decoder, dtype)
    kinds = [type(module) for module in fused.modules()]
    assert kinds.count(FusedConvTranspose2d) == 5
    assert kinds.count(FusedAddedConv2d) == (4 if decoder == "plain" else 0)
    for height, width in (*SIZES, *SIZES[::-1]):
        images = torch.randn(2, 3, height, width)
        expected, logits = ready(images).logits.float(), fused(images).logits.float()
        limit = 1e-5 if dtype == torch.float32 else 0.05
        assert (logits - expected).abs().max() <= limit * expected.abs().max()


@torch.inference_mode()
def test_copies_are_made_before_use_and_after() -> None:
    _, fused = stages("plain", torch.float32)
    early, images = copy.deepcopy(fused), torch.randn(1, 3, 64, 96)
    expected = fused(images).logits
    late = copy.deepcopy(fused)
    assert torch.equal(early(images).logits, expected)
    assert torch.equal(late(images).logits, expected)


def test_threads_with_images_of_their_own_size() -> None:
    _, fused = stages("plain", torch.float32)
    pictures = [torch.randn(1, 3, *size) for size in SIZES]
    with torch.inference_mode():
        expected = [fused(images).logits for images in pictures]
    start = threading.Barrier(len(pictures))

    @torch.inference_mode()
    def repeat(index: int) -> float:
        start.wait()
        return max(
            float((fused(pictures[index]).logits - expected[index]).abs().max()) for _ in range(8)
        )

    with ThreadPoolExecutor(len(pictures)) as pool:
        errors = list(pool.map(repeat, range(len(pictures))))
    scale = max(float(logits.abs().max()) for logits in expected)
    assert max(errors) <= 1e-5 * scale


@torch.inference_mode()
def test_a_widely_dilated_depthwise_convolution_costs_no_more_than_a_narrow_one() -> None:
    """With oneDNN's own padding it takes ten times as long (version 3.13, AVX-512)."""

    def seconds(dilation: int) -> float:
        conv = nn.Conv2d(512, 512, 3, padding=dilation, dilation=dilation, groups=512)
        fused, times = FusedConv2d(conv, NOTHING), []
        for _ in range(8):
            start = time.thread_time()
            fused(x)
            times.append(time.thread_time() - start)
        return min(times)

    x = torch.randn(1, 512, 64, 64).to(memory_format=torch.channels_last)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert seconds(8) < 5 * seconds(2)
    finally:
        torch.set_num_threads(threads)
