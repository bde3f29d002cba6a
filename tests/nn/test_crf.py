"""The fully connected CRF against mean field written out, and what must not change its answer."""

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from vitrail.errors import ParameterError
from vitrail.nn.crf import DenseCRF, unary_of
from vitrail.nn.crf_params import CRFParams

PARAMETERS = [
    {},
    {"bilateral_weight": 10, "theta_alpha": 80, "theta_beta": 13},
    {"bilateral_weight": 4, "theta_alpha": 10, "theta_beta": 30, "iterations": 5},
    {"gaussian_weight": 1, "theta_gamma": 1.5, "bilateral_weight": 2, "theta_alpha": 5},
]


def params(**values: object) -> CRFParams:
    return CRFParams.from_params(values)


def brute_force(
    unary: torch.Tensor, image: np.ndarray, setting: CRFParams, compatibility: np.ndarray | None
) -> np.ndarray:
    """Algorithm 1 of arXiv:1210.5644 in float64 with true Gaussians between all pairs of pixels."""
    classes, height, width = unary.shape
    y, x = np.mgrid[:height, :width].reshape(2, -1).astype(np.float64)
    colours = image.reshape(-1, 3).astype(np.float64)
    near = (y[:, None] - y) ** 2 + (x[:, None] - x) ** 2
    alike = ((colours[:, None] - colours) ** 2).sum(-1)
    kernels = (
        (setting.gaussian_weight, np.exp(-near / (2 * setting.theta_gamma**2))),
        (
            setting.bilateral_weight,
            np.exp(-near / (2 * setting.theta_alpha**2) - alike / (2 * setting.theta_beta**2)),
        ),
    )
    total = np.zeros_like(near)
    for weight, kernel in kernels:
        root = np.sqrt(kernel.sum(1))
        total += weight * kernel / root / root[:, None]
    costs = 1 - np.eye(classes) if compatibility is None else compatibility
    energy = unary.double().numpy().reshape(classes, -1)

    def normalised(energies: np.ndarray) -> np.ndarray:
        exponentials = np.exp(-(energies - energies.min(0)))
        return exponentials / exponentials.sum(0)

    marginals = normalised(energy)
    for _ in range(setting.iterations):
        marginals = normalised(energy + costs @ (marginals @ total))
    return marginals.reshape(unary.shape)


def blobs(size: tuple[int, int], classes: int, seed: int, strength: float = 2.0) -> torch.Tensor:
    """Unary terms as of an unsure network: smooth, with noise; (C, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, classes, size[0] // 8 + 2, size[1] // 8 + 2, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size, mode="bilinear")[0]
    return -(strength * smooth + 0.5 * torch.randn(classes, *size, generator=generator))


def picture(name: str, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 of that size, reduced or cut out."""
    height, width = size
    dice = np.random.default_rng(0)
    if name == "noise":
        return dice.integers(0, 256, (height, width, 3)).astype(np.uint8)
    if name == "smooth":
        soft = cv2.GaussianBlur(dice.normal(size=(height, width, 3)), (0, 0), 4)
        return np.clip(soft * 800 + 128, 0, 255).astype(np.uint8)
    if name == "chelsea":
        return cv2.resize(data.chelsea(), (width, height), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(data.astronaut()[100 : 100 + height, 200 : 200 + width])


@pytest.mark.parametrize("setting", PARAMETERS, ids=str)
@pytest.mark.parametrize("name", ["noise", "smooth", "chelsea", "astronaut"])
def test_marginals_are_those_of_brute_force(name: str, setting: dict) -> None:
    size = (30, 40)
    unary, image = blobs(size, 5, seed=1), picture(name, size)
    expected = brute_force(unary, image, params(**setting), None)
    marginals = DenseCRF(params(**setting))(unary, image).numpy()
    assert np.abs(marginals - expected).max() < 0.02


def test_a_compatibility_of_ones_own_is_that_of_brute_force() -> None:
    """Costs that are neither symmetric nor Potts."""
    size = (18, 23)
    costs = np.array([[0, 1, 3], [0.5, 0, 1], [2, 1, 0.2]])
    unary, image = blobs(size, 3, seed=2, strength=0.5), picture("smooth", size)
    expected = brute_force(unary, image, params(bilateral_weight=3), costs)
    marginals = DenseCRF(params(bilateral_weight=3), costs)(unary, image).numpy()
    assert np.abs(marginals - expected).max() < 0.02
    potts = DenseCRF(params(bilateral_weight=3))(unary, image).numpy()
    assert np.abs(potts - expected).max() > 0.1


@pytest.mark.parametrize("name", ["coffee", "astronaut", "chelsea"])
def test_the_lattice_gives_nearly_the_labels_of_the_exact_sum(name: str) -> None:
    """At a photo's full resolution, where vertices have neighbours. The lattice's kernel is not
    quite the Gaussian, and mean field makes up its mind: where two labels are as good as each
    other, a little decides; hence most pixels, not all."""
    whole = getattr(data, name)()
    image = np.ascontiguousarray(whole[100:160, 100:170])
    unary = blobs((60, 70), 5, seed=3)
    crf = DenseCRF()
    exact, lattice = crf(unary, image, exact=True), crf(unary, image, exact=False)
    assert (exact - lattice).abs().mean() < 0.02
    assert (exact.argmax(0) == lattice.argmax(0)).float().mean() > 0.95
    assert (exact.argmax(0) != unary.argmin(0)).float().mean() > 0.1  # there was work to do


@pytest.mark.parametrize("exact", [True, False])
def test_the_order_of_labels_does_not_matter(exact: bool) -> None:
    size, order = (24, 31), torch.tensor([3, 0, 2, 1])
    unary, image = blobs(size, 4, seed=4), picture("smooth", size)
    plain = DenseCRF()(unary, image, exact=exact)
    permuted = DenseCRF()(unary[order], image, exact=exact)
    assert torch.allclose(plain[order], permuted, atol=1e-4)


@pytest.mark.parametrize("exact", [True, False])
def test_a_mirrored_image_gives_mirrored_marginals(exact: bool) -> None:
    size = (24, 31)
    unary, image = blobs(size, 3, seed=5), picture("chelsea", size)
    setting = params(bilateral_weight=2, gaussian_weight=1)
    plain = DenseCRF(setting)(unary, image, exact=exact)
    mirrored = DenseCRF(setting)(unary.flip(2), np.ascontiguousarray(image[:, ::-1]), exact=exact)
    # the lattice lies where it lies, so a mirrored picture falls into other simplices
    assert (plain - mirrored.flip(2)).abs().mean() < (1e-4 if exact else 0.02)


@pytest.mark.parametrize(
    "setting", [{"gaussian_weight": 0, "bilateral_weight": 0}, {"iterations": 0}], ids=str
)
def test_without_weights_or_iterations_it_is_the_softmax(setting: dict) -> None:
    unary = blobs((9, 7), 3, seed=6)
    marginals = DenseCRF(params(**setting))(unary, picture("noise", (9, 7)))
    assert torch.allclose(marginals, torch.softmax(-unary, 0), atol=1e-6)


@pytest.mark.parametrize("exact", [True, False])
def test_specks_vanish_in_a_constant_image(exact: bool) -> None:
    probabilities = np.zeros((2, 20, 30), np.float32)
    probabilities[0] = 0.8
    probabilities[0, 10, 15] = 0.3
    probabilities[1] = 1 - probabilities[0]
    image = np.full((20, 30, 3), 90, np.uint8)
    marginals = DenseCRF()(unary_of(probabilities), image, exact=exact)
    assert (marginals[0] > 0.99).all()


@pytest.mark.parametrize("exact", [True, False])
def test_borders_move_to_the_edge(exact: bool) -> None:
    """The picture changes at column 20, the labels at column 17."""
    image = np.zeros((30, 40, 3), np.uint8)
    image[:, 20:] = 200
    right = np.zeros((30, 40), np.float32)
    right[:, 17:] = 1
    probabilities = np.stack([1 - right, right]) * 0.6 + 0.2
    marginals = DenseCRF()(unary_of(probabilities), image, exact=exact)
    assert np.array_equal(marginals.argmax(0).numpy(), image[..., 0] // 200)


@pytest.mark.parametrize("exact", [True, False, None])
@pytest.mark.parametrize("size", [(1, 1), (1, 57), (57, 1), (2, 3), (13, 5)])
def test_any_size(size: tuple[int, int], exact: bool | None) -> None:
    unary = blobs(size, 3, seed=7)
    marginals = DenseCRF()(unary, picture("noise", size), exact=exact)
    assert marginals.shape == unary.shape and marginals.dtype == torch.float32
    assert torch.allclose(marginals.sum(0), torch.ones(size), atol=1e-5)


def test_large_images_go_to_the_lattice() -> None:
    """Nothing else could hold 90,000 x 90,000 pairs."""
    image = cv2.resize(data.chelsea(), (300, 300))
    marginals = DenseCRF(params(iterations=2))(blobs((300, 300), 3, seed=8), image)
    assert torch.allclose(marginals.sum(0), torch.ones(300, 300), atol=1e-5)


def test_labels_left_out_change_next_to_nothing() -> None:
    size = (30, 40)
    unary = torch.cat([blobs(size, 3, seed=9), torch.full((6, *size), 30.0)])
    image = picture("smooth", size)
    marginals = DenseCRF()(unary, image)
    assert (marginals[3:] == 0).all()
    kept = DenseCRF(None, 1 - np.eye(9))(unary, image)  # Potts by hand: nothing is left out
    assert (kept[3:] > 0).all()
    assert (marginals - kept).abs().max() < 1e-3


def test_no_gradient_and_the_arguments_stay_as_they_are() -> None:
    unary = blobs((10, 12), 3, seed=10).requires_grad_()
    before, image = unary.detach().clone(), picture("noise", (10, 12))
    for exact in (True, False):
        marginals = DenseCRF()(unary, image, exact=exact)
        assert not marginals.requires_grad
        assert torch.equal(unary, before)
        assert torch.equal(marginals, DenseCRF()(unary, image, exact=exact))  # deterministic


def test_half_precision_unary_terms_are_computed_in_float32() -> None:
    unary, image = blobs((10, 12), 3, seed=11).half(), picture("noise", (10, 12))
    assert torch.equal(DenseCRF()(unary, image), DenseCRF()(unary.float(), image))


def test_unary_terms_of_probabilities() -> None:
    probabilities = np.array([[[1.0, 0.25]], [[0.0, 0.75]]], np.float32)
    assert torch.allclose(unary_of(probabilities), -torch.tensor(probabilities).clamp(1e-5).log())
    for wrong in (np.nan, -0.1):
        with pytest.raises(ParameterError, match="finite and at least 0"):
            unary_of(np.full((2, 3, 3), wrong))


@pytest.mark.parametrize(
    ("unary", "image", "message"),
    [
        (np.zeros((3, 4)), np.zeros((4, 4, 3), np.uint8), "expected floats"),
        (np.zeros((3, 4, 4), int), np.zeros((4, 4, 3), np.uint8), "expected floats"),
        (np.zeros((3, 4, 4)), np.zeros((4, 5, 3), np.uint8), r"\(4, 4, 3\)"),
        (np.zeros((3, 4, 4)), np.zeros((4, 4, 3)), "expected uint8"),
        (np.full((3, 4, 4), np.inf), np.zeros((4, 4, 3), np.uint8), "not finite"),
    ],
)
def test_arguments_that_do_not_fit(unary: np.ndarray, image: np.ndarray, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        DenseCRF()(unary, image)


def test_costs_that_do_not_fit() -> None:
    with pytest.raises(ParameterError, match=r"expected finite \(C, C\)"):
        DenseCRF(None, np.zeros((2, 3)))
    with pytest.raises(ParameterError, match="is for 2 labels, unary has 3"):
        DenseCRF(None, np.eye(2))(np.zeros((3, 4, 4)), np.zeros((4, 4, 3), np.uint8))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"theta_beta": 0}, "theta_beta=0: "),
        ({"iterations": 2.5}, "iterations=2.5: "),
        ({"gaussian_weight": float("nan")}, "gaussian_weight=nan: "),
        ({"theta": 3}, "no parameter 'theta'; did you mean 'theta_"),
    ],
)
def test_parameters_out_of_range(values: dict, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        CRFParams.from_params(values)
