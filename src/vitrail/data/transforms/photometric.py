"""Changes to the colours of a crop, by torchvision.transforms.v2; no label moves."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from vitrail.data.transforms.framing import uniform

F = v2.functional
_HUE = 3
"""The number of the hue among the four changes that v2.ColorJitter puts in random order."""


class ColourJitter(v2.ColorJitter):
    """v2.ColorJitter, with the hue turned by OpenCV in 8 bits: a twentieth of the time.

    It differs from ``v2.functional.adjust_hue`` by a third of a grey level on average. Takes
    ``(3, h, w)`` uint8 images only.
    """

    def transform(self, inpt: Tensor, params: dict) -> Tensor:
        changes = {
            0: (F.adjust_brightness_image, params["brightness_factor"]),
            1: (F.adjust_contrast_image, params["contrast_factor"]),
            2: (F.adjust_saturation_image, params["saturation_factor"]),
            _HUE: (turn_hue, params["hue_factor"]),
        }
        image = inpt.as_subclass(Tensor)
        for number in params["fn_idx"].tolist():
            change, factor = changes[number]
            if factor is not None:
                image = change(image, factor)
        return tv_tensors.Image(image)


def turn_hue(image: Tensor, turn: float) -> Tensor:
    """``(3, h, w)`` uint8 with its hue moved by ``turn`` of the whole circle, -0.5 to 0.5."""
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    cylinder = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV_FULL)  # hue 0..255, which wraps around
    cylinder[..., 0] += np.uint8(round(turn * 256) % 256)
    turned = cv2.cvtColor(cylinder, cv2.COLOR_HSV2RGB_FULL)
    return torch.from_numpy(turned).permute(2, 0, 1).contiguous()


class Noise(v2.Transform):
    """Gaussian noise whose standard deviation is drawn for each image.

    Parameters
    ----------
    sigma:
        Range of the standard deviation, as a share of the whole range of values (1 is 255).
    """

    def __init__(self, sigma: tuple[float, float]) -> None:
        super().__init__()
        self.sigma = sigma

    def make_params(self, flat_inputs: list) -> dict:
        return {"sigma": uniform(*self.sigma)}

    def transform(self, inpt: Tensor, params: dict) -> Tensor:
        return self._call_kernel(F.gaussian_noise, inpt, **params)


def photometric(
    *,
    colour: float,
    grey: float,
    invert: float = 0.0,
    blur: float,
    blur_sigma: tuple[float, float],
    noise: float,
    noise_sigma: tuple[float, float],
) -> v2.Compose | None:
    """Colour, then blur, then noise, as a lens and a sensor would; None where nothing is to do.

    Parameters
    ----------
    colour:
        Strength of brightness, contrast, saturation (and a fifth of it for hue) jitter.
    grey, invert, blur, noise:
        Probabilities of dropping the colour, of inverting it, of a Gaussian blur, and of Gaussian
        noise.
    blur_sigma:
        Range of the blur's standard deviation, px.
    noise_sigma:
        Range of the noise's standard deviation, as a share of the whole range of values.
    """
    steps: list[v2.Transform] = []
    if colour:
        steps.append(ColourJitter(colour, colour, colour, colour / 5))
    if grey:
        steps.append(v2.RandomGrayscale(grey))
    if invert:
        steps.append(v2.RandomInvert(invert))
    if blur:
        reach = 2 * max(1, round(3 * blur_sigma[1])) + 1  # three standard deviations either way
        steps.append(v2.RandomApply([v2.GaussianBlur(reach, blur_sigma)], blur))
    if noise:
        steps.append(v2.RandomApply([Noise(noise_sigma)], noise))
    return v2.Compose(steps) if steps else None


class Cutout:
    """A black rectangle somewhere in the crop.

    DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout",
    arXiv:1708.04552; place and shape are drawn by v2.RandomErasing (Zhong et al.,
    arXiv:1708.04896).

    Parameters
    ----------
    area:
        Range of its share of the crop.
    """

    def __init__(self, area: tuple[float, float]) -> None:
        self._erasing = v2.RandomErasing(1.0, area)

    def __call__(self, image: Tensor) -> tuple[Tensor, tuple[int, int, int, int]]:
        """``(3, h, w)`` uint8 with the rectangle, and where that lies: ``y x h w``, px."""
        drawn = self._erasing.make_params([image])
        if drawn["v"] is None:  # ten shapes were tried, and none fits into the crop
            return image, (0, 0, 0, 0)
        y, x, h, w = (int(drawn[key]) for key in "ijhw")
        black = torch.zeros((3, 1, 1), dtype=torch.uint8)
        return F.erase_image(image, y, x, h, w, black), (y, x, h, w)
