"""Atrous pyramids look where their rates say, and pool whatever the batch is."""

import pytest
import torch
from torch import Tensor, nn

from vitrail.nn.aspp import ASPP, AtrousScores, ImagePooling, SeparableConv, normalise_pooled


def seen(module: nn.Module, channels: int, side: int) -> Tensor:
    """``(side, side)`` bool: which features the result at the centre depends on."""
    x = torch.randn(1, channels, side, side, requires_grad=True)
    module(x)[..., side // 2, side // 2].sum().backward()
    assert x.grad is not None
    return x.grad[0].abs().sum(0) > 0


def taps(side: int, rate: int) -> Tensor:
    """The nine features that a 3x3 convolution of that rate reads at the centre."""
    expected = torch.zeros(side, side, dtype=torch.bool)
    at = torch.tensor([-rate, 0, rate]) + side // 2
    expected[at[:, None], at[None]] = True
    return expected


@pytest.mark.parametrize("separable", [False, True])
def test_each_branch_reads_its_own_nine_taps(separable: bool) -> None:
    """arXiv:1706.05587, section 3.3: a 1x1 branch, three of rates 6, 12 and 18, image pooling."""
    torch.manual_seed(0)
    aspp = ASPP(8, 32, separable=separable).eval()
    pointwise, *dilated, pooled = aspp.convs
    assert torch.equal(seen(pointwise, 8, 41), taps(41, 0))
    for branch, rate in zip(dilated, (6, 12, 18), strict=True):
        assert torch.equal(seen(branch, 8, 41), taps(41, rate))
    assert seen(pooled, 8, 41).all()
    assert aspp(torch.randn(2, 8, 5, 7)).shape == (2, 32, 5, 7)


def test_separable_convolutions_have_fewer_weights() -> None:
    """arXiv:1802.02611, section 3.1: 9 for each channel, and 1x1 between channels."""
    weights = sum(parameter.numel() for parameter in SeparableConv(64, 128).parameters())
    assert weights == 64 * 9 + 64 * 128
    plain, separable = (ASPP(64, 128, separable=flag) for flag in (False, True))
    saved = sum(p.numel() for p in plain.parameters()) - sum(
        p.numel() for p in separable.parameters()
    )
    assert saved == 3 * (64 * 128 * 9 - weights)


def test_image_pooling_is_the_mean_everywhere() -> None:
    torch.manual_seed(0)
    pooling = ImagePooling(4, 6).eval()
    x = torch.randn(2, 4, 3, 5)
    _, convolve, norm, _ = pooling
    means = norm(convolve(x)).mean((2, 3))  # both are affine: the mean may be taken after them
    expected = means.clamp(min=0)[..., None, None].expand(2, 6, 3, 5)
    torch.testing.assert_close(pooling(x), expected)


def test_a_batch_of_one_is_pooled_with_the_running_statistics() -> None:
    """torch's batch norm refuses one value per channel in training."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4)
    norm(torch.randn(8, 4, 2, 2) * 3 + 1)
    single = torch.randn(1, 4, 1, 1)
    with pytest.raises(ValueError, match="more than 1 value"):
        norm(single)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    given = normalise_pooled(norm, single)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
    given.square().sum().backward()
    assert norm.weight.grad is not None and norm.weight.grad.all()
    torch.testing.assert_close(given, norm.eval()(single))


def test_more_values_are_normalised_as_ever() -> None:
    torch.manual_seed(0)
    own, plain = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
    for size in ((2, 4, 1, 1), (1, 4, 2, 1)):
        x = torch.randn(size)
        torch.testing.assert_close(normalise_pooled(own, x), plain(x))
    torch.testing.assert_close(own.running_mean, plain.running_mean)
    torch.testing.assert_close(own.running_var, plain.running_var)


@pytest.mark.parametrize("images", [1, 2])
def test_aspp_trains_on_few_images(images: int) -> None:
    torch.manual_seed(0)
    aspp = ASPP(8, 16)
    aspp(torch.randn(images, 8, 4, 4)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in aspp.parameters())


@pytest.mark.parametrize("hidden", [0, 16])
def test_scores_are_the_sum_of_the_branches(hidden: int) -> None:
    """arXiv:1606.00915, figure 7 b."""
    torch.manual_seed(0)
    head = AtrousScores(8, 3, (6, 12, 18, 24), hidden=hidden).eval()
    x = torch.randn(2, 8, 9, 9)
    torch.testing.assert_close(head(x), torch.stack([branch(x) for branch in head]).sum(0))
    assert head(x).shape == (2, 3, 9, 9)
    for branch, rate in zip(head, (6, 12, 18, 24), strict=True):
        assert torch.equal(seen(branch, 8, 51), taps(51, rate))


def test_large_fov_sees_224_pixels() -> None:
    """arXiv:1412.7062, table on the field of view: 3x3 at input stride 12 sees 224 px, as 7x7 at
    input stride 4 does: features 8 px apart, of which each is one of VGG's pool5 (32 px)."""
    torch.manual_seed(0)
    columns = seen(AtrousScores(4, 3, (12,), hidden=16).eval(), 4, 41).any(0).nonzero()
    extent = int(columns.max() - columns.min())
    assert extent * 8 + 32 == 224
    assert extent == (7 - 1) * 4
