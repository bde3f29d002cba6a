"""Edges: where grey changes, how much, and in which direction.

Every function takes a grey image ``(H, W)``, turns it into float32, and mirrors the border with
the edge pixel repeated (``"reflect"`` in SciPy, ``BORDER_REFLECT`` in OpenCV). Responses are those
of *convolution* with the kernels as written here, as ``scipy.ndimage.convolve`` gives them: the
kernel is turned by 180 degrees, so the horizontal response is positive where it gets lighter
downwards, and the vertical one where it gets lighter to the right. Nothing is normalised:
`STEP` says what each operator gives at a straight edge from black to white.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal, NamedTuple, Self

import cv2
import numpy as np
from pydantic import Field, model_validator

from vitrail.classical.method import Method
from vitrail.errors import ParameterError
from vitrail.image import Image
from vitrail.result import EdgeResult

Operator = Literal["sobel", "prewitt", "roberts", "scharr"]


def _kernel(*rows: list[int]) -> np.ndarray:
    return np.array(rows, np.float32)


_SOBEL = _kernel([1, 2, 1], [0, 0, 0], [-1, -2, -1])
_PREWITT = _kernel([1, 1, 1], [0, 0, 0], [-1, -1, -1])
_SCHARR = _kernel([3, 10, 3], [0, 0, 0], [-3, -10, -3])

KERNELS: dict[Operator, tuple[np.ndarray, np.ndarray]] = {
    "sobel": (_SOBEL, _SOBEL.T),
    "prewitt": (_PREWITT, _PREWITT.T),
    "scharr": (_SCHARR, _SCHARR.T),
    "roberts": (_kernel([1, 0], [0, -1]), _kernel([0, 1], [-1, 0])),
}
"""Of each operator, the kernels of the horizontal and of the vertical response, for convolution.

Those of ``roberts`` see the two diagonals; its pixel is the upper left of the four.
"""

STEP: dict[Operator, float] = {"sobel": 4.0, "prewitt": 3.0, "scharr": 16.0, "roberts": 2**0.5}
"""The strength of a straight horizontal or vertical edge from 0 to 1, by operator."""


class Gradient(NamedTuple):
    """Responses of an edge operator, each (H, W) float32, in the image's unit times the kernel's.

    ``strength`` is ``hypot(horizontal, vertical)``.
    """

    strength: np.ndarray
    horizontal: np.ndarray
    vertical: np.ndarray


def gradient(gray: np.ndarray, operator: Operator = "sobel") -> Gradient:
    """Horizontal and vertical responses of an operator, and their magnitude.

    Parameters
    ----------
    gray
        (H, W), any numeric type.

    Raises
    ------
    ParameterError
        when `gray` is not a grey image.
    """
    values = _as_float(gray)
    # filter2D correlates, so it is given the kernels turned round. With that, SciPy's centre of a
    # kernel with even sides becomes the upper left of its middle.
    middle = (len(KERNELS[operator][0]) - 1) // 2
    horizontal, vertical = (
        cv2.filter2D(
            values, cv2.CV_32F, kernel[::-1, ::-1].copy(), None, (middle, middle), 0, _BORDER
        )
        for kernel in KERNELS[operator]
    )
    return Gradient(cv2.magnitude(horizontal, vertical), horizontal, vertical)


def sobel(gray: np.ndarray) -> Gradient:
    """Sobel's operator, kernel [[1, 2, 1], [0, 0, 0], [-1, -2, -1]] and its transpose."""
    return gradient(gray, "sobel")


def prewitt(gray: np.ndarray) -> Gradient:
    """Prewitt's operator, kernel [[1, 1, 1], [0, 0, 0], [-1, -1, -1]] and its transpose."""
    return gradient(gray, "prewitt")


def scharr(gray: np.ndarray) -> Gradient:
    """Scharr's operator, kernel [[3, 10, 3], [0, 0, 0], [-3, -10, -3]] and its transpose."""
    return gradient(gray, "scharr")


def roberts(gray: np.ndarray) -> Gradient:
    """Roberts' cross: kernels [[1, 0], [0, -1]] and [[0, 1], [-1, 0]]."""
    return gradient(gray, "roberts")


def canny(
    gray: np.ndarray,
    sigma: float = 1.0,
    low: float | None = None,
    high: float | None = None,
) -> Gradient:
    """Canny's edges: one pixel wide, and linked.

    The image is smoothed, Sobel's gradient taken, its maxima across the edge kept; those above
    `high` are edges, and those above `low` too if they touch one (8 neighbours). The reference is
    ``cv2.Canny(dx, dy, low, high, L2gradient=True)``; smoothing and gradient are float32, and the
    gradient is rounded to 1/4080 of a step for it.
    Canny, "A computational approach to edge detection", IEEE PAMI 8 (1986).

    Parameters
    ----------
    gray
        (H, W), floats in [0, 1], or uint8 or uint16, which are scaled to it.
    sigma
        of the Gaussian, in pixels; 0 does not smooth.
    low, high
        limits of the Sobel magnitude, 0 to 4.5 (a sharp straight step from black to white has
        4). Without `high`: Otsu's threshold of the magnitude. Without `low`: 0.4 times `high`.

    Returns
    -------
    Gradient
        strength 1 on edges and 0 elsewhere; the responses are Sobel's on the smoothed image.

    Raises
    ------
    ParameterError
        when `low` is greater than `high`.
    """
    values = _as_float(gray)
    if gray.dtype.kind == "u":
        values *= np.float32(1 / np.iinfo(gray.dtype).max)
    smooth = _gaussian(values, sigma) if sigma > 0 else values
    magnitude, horizontal, vertical = sobel(smooth)
    if high is None:
        high = _otsu(magnitude) if low is None else max(low, _otsu(magnitude))
    if low is None:
        low = 0.4 * high
    if low > high:
        raise ParameterError(f"low={low} is above high={high}; low must not exceed high")
    # Steps of 1/4080 = 1/(16 * 255): 8-bit images without smoothing lose nothing to rounding, and
    # the greatest gradient there can be, 4.5, still fits into 16 bits.
    dx, dy = (
        np.rint(np.clip(part, -4.5, 4.5) * 4080).astype(np.int16) for part in (vertical, horizontal)
    )
    edges = cv2.Canny(dx, dy, low * 4080, high * 4080, L2gradient=True)
    return Gradient((edges > 0).astype(np.float32), horizontal, vertical)


def laplacian_of_gaussian(gray: np.ndarray, sigma: float = 2.0) -> np.ndarray:
    """The Laplacian of the image smoothed with `sigma` pixels, (H, W) float32.

    Positive on the dark side of an edge and negative on the light side. Equals
    ``scipy.ndimage.gaussian_laplace(gray, sigma)`` (kernels cut at 4 sigma).
    """
    values = _as_float(gray)
    smooth, second = _gaussian_kernels(sigma)
    rows = cv2.sepFilter2D(values, cv2.CV_32F, second, smooth, borderType=_BORDER)
    rows += cv2.sepFilter2D(values, cv2.CV_32F, smooth, second, borderType=_BORDER)
    return rows


def zero_crossings(response: np.ndarray, floor: float = 1e-6) -> np.ndarray:
    """How steeply a response changes sign at each pixel, (H, W) float32, 0 where it does not.

    Of two neighbours (4-connected) of opposite signs, the one nearer to zero carries the crossing,
    with the difference between the two as its strength; several crossings at a pixel count with
    the greatest. Differences up to `floor` are rounding, and left out.
    """
    response = np.ascontiguousarray(response, np.float32)
    strength = np.zeros_like(response)
    for first, second, out_first, out_second in (
        (response[:, :-1], response[:, 1:], strength[:, :-1], strength[:, 1:]),
        (response[:-1], response[1:], strength[:-1], strength[1:]),
    ):
        jump = np.abs(first - second)
        jump[((first < 0) == (second < 0)) | (jump <= floor)] = 0
        nearer = np.abs(first) <= np.abs(second)
        np.maximum(out_first, np.where(nearer, jump, 0), out=out_first)
        np.maximum(out_second, np.where(nearer, 0, jump), out=out_second)
    return strength


_BORDER = cv2.BORDER_REFLECT


def _as_float(gray: np.ndarray) -> np.ndarray:
    """A float32 copy (or the array itself if it is float32 and contiguous already)."""
    if gray.ndim != 2 or not gray.size or gray.dtype.kind not in "uifb":
        raise ParameterError(
            f"expected a grey image (H, W), got {gray.dtype} of shape {gray.shape}; "
            "Image.gray() makes one"
        )
    return np.ascontiguousarray(gray, np.float32)


def _gaussian_kernels(sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """A Gaussian of unit sum, and its second derivative, cut at 4 sigma as SciPy cuts them."""
    if not sigma > 0:
        raise ParameterError(f"sigma must be greater than 0 pixels, got {sigma}")
    radius = int(4 * sigma + 0.5)
    x = np.arange(-radius, radius + 1, dtype=np.float64)
    smooth = np.exp(-0.5 * (x / sigma) ** 2)
    smooth /= smooth.sum()
    return smooth, smooth * (x**2 / sigma**4 - 1 / sigma**2)


def _gaussian(values: np.ndarray, sigma: float) -> np.ndarray:
    kernel, _ = _gaussian_kernels(sigma)
    return cv2.sepFilter2D(values, cv2.CV_32F, kernel, kernel, borderType=_BORDER)


def _otsu(magnitude: np.ndarray) -> float:
    from vitrail.classical.threshold import otsu_threshold

    return otsu_threshold(magnitude)


_OPERATORS: dict[str, Callable[[np.ndarray], Gradient]] = {
    "sobel": sobel,
    "prewitt": prewitt,
    "roberts": roberts,
    "scharr": scharr,
}
_OWNERS = {"sigma": ("canny", "log"), "low": ("canny",), "high": ("canny",)}


class Edges(Method):
    """How much of an edge there is at every pixel of ``Image.gray()`` (Rec. 709, 0 to 1).

    `strength` is the magnitude of the operator's responses, unnormalised (a straight edge from
    black to white gives 4 with ``sobel``, 3 with ``prewitt``, 16 with ``scharr``, 1.41 with
    ``roberts``); 0 or 1 with ``canny``; the step across the zero crossing, 0 elsewhere, with
    ``log``, which has no horizontal and vertical responses.
    """

    name: ClassVar[str] = "edges"
    summary: ClassVar[str] = "Sobel, Prewitt, Roberts, Scharr, Canny or Laplacian-of-Gaussian edges"

    method: Operator | Literal["canny", "log"] = Field("sobel", description="the edge operator")
    sigma: float | None = Field(
        None,
        ge=0.0,
        le=100,
        description="smoothing in pixels, for canny (default 1; 0 for none) and log (default 2)",
    )
    low: float | None = Field(
        None, ge=0, le=5, description="canny: weakest gradient of a linked edge; default 0.4 * high"
    )
    high: float | None = Field(
        None,
        ge=0,
        le=5,
        description="canny: gradient that starts an edge, 0 to 5 (4 is a sharp step from black to "
        "white); default Otsu's threshold of the gradient",
    )

    @model_validator(mode="after")
    def _fits_method(self) -> Self:
        for name, owners in _OWNERS.items():
            if name in self.model_fields_set and self.method not in owners:
                owner = " or ".join(owners)
                raise ValueError(f"{name} belongs to method={owner}, not to {self.method}")
        if self.method == "log" and self.sigma is not None and self.sigma < 0.3:
            raise ValueError(f"method=log needs a sigma of at least 0.3 pixels, got {self.sigma}")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low={self.low} is above high={self.high}; low must not exceed high")
        return self

    def __call__(self, image: Image) -> EdgeResult:
        gray = image.gray()
        if self.method == "log":
            response = laplacian_of_gaussian(gray, 2.0 if self.sigma is None else self.sigma)
            return EdgeResult(zero_crossings(response), image=image)
        if self.method == "canny":
            found = canny(gray, 1.0 if self.sigma is None else self.sigma, self.low, self.high)
        else:
            found = _OPERATORS[self.method](gray)
        return EdgeResult(found.strength, found.horizontal, found.vertical, image=image)
