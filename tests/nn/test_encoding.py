"""Context encoding against its formula."""

import torch

from vitrail.nn.encoding import CodewordEncoding, ContextEncoding


def test_residuals_are_the_papers_sums() -> None:
    """arXiv:1803.08904, section 3: every pixel and codeword in turn, in float64."""
    torch.manual_seed(0)
    encode = CodewordEncoding(6, 4)
    torch.nn.init.normal_(encode.codewords)
    x = torch.randn(2, 6, 3, 5)
    codewords, smoothing = encode.codewords.double(), encode.smoothing.double()
    for image in range(2):
        expected = torch.zeros(4, 6, dtype=torch.float64)
        for pixel in x[image].double().flatten(1).T:
            residuals = pixel - codewords
            share = torch.softmax(-smoothing * residuals.square().sum(1), 0)
            expected += share[:, None] * residuals
        torch.testing.assert_close(encode(x)[image].double(), expected, rtol=1e-4, atol=1e-4)


def test_the_order_of_pixels_does_not_matter() -> None:
    torch.manual_seed(0)
    encode, x = CodewordEncoding(6, 4), torch.randn(1, 6, 4, 4)
    shuffled = x.flatten(2)[..., torch.randperm(16)].reshape(1, 6, 4, 4)
    torch.testing.assert_close(encode(x), encode(shuffled), rtol=1e-4, atol=1e-5)


def test_half_precision_does_not_reassign_pixels() -> None:
    """Far from the origin distances are differences of large numbers; they are taken in float32
    under autocast as well."""
    torch.manual_seed(0)
    encode = CodewordEncoding(64, 8)
    x = torch.randn(1, 64, 4, 4) + 8
    with torch.no_grad():
        encode.codewords.copy_(x[0].flatten(1).T[:8] + 0.1 * torch.randn(8, 64))
        expected = encode(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(encode(x), expected)


def test_presence_is_for_training() -> None:
    torch.manual_seed(0)
    encode, x = ContextEncoding(8, classes=3, codewords=4), torch.randn(2, 8, 4, 4)
    weighted, presence = encode(x)
    assert weighted.shape == x.shape
    assert presence is not None and presence.shape == (2, 3)
    encode.eval()
    weighted, presence = encode(x)
    assert presence is None
    # relu(x + x * w), w a factor in 0..1 for each channel of an image
    factor = (weighted / x.clamp(min=1e-6) - 1)[x > 0]
    assert (factor > 0).all() and (factor < 1).all()
    assert (weighted[x <= 0] == 0).all()


def test_one_pixel_of_one_image_trains() -> None:
    """Codewords are normalised over channels as well: one image is enough."""
    encode = ContextEncoding(8, classes=3, codewords=4)
    encode.convolve[1].eval()
    weighted, presence = encode(torch.randn(1, 8, 1, 1))
    assert weighted.isfinite().all() and presence is not None and presence.isfinite().all()
