"""What may be changed about a training image: the settings, and what is built from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, overload

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from vitrail.data.sample import LabelSpace
    from vitrail.data.transforms import Augmentation, Example, InstanceExample

Kind = Literal["labels", "instances"]
"""What a network learns from: a class for every pixel, or separate objects."""

Probability = Annotated[float, Field(ge=0, le=1)]


class AugmentConfig(BaseModel):
    """Random changes to a training image; each is drawn once for the image and its labels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    framing: Literal["scale-jitter", "resized-crop", "stretch"] = Field(
        default="scale-jitter",
        description="scale-jitter: the whole image at a random scale, cropped or padded; "
        "resized-crop: a random window, resized to the crop; stretch: the whole image, resized to "
        "the crop whatever its shape",
    )
    scale: tuple[float, float] = Field(
        default=(0.75, 1.75),
        description="scale-jitter: long side of the whole image, as a multiple of image_size, "
        "0.05 to 20",
    )
    area: tuple[float, float] = Field(
        default=(0.25, 1.0),
        description="resized-crop: the window's share of the image's area, 0.001 to 1",
    )
    stretch: float = Field(
        default=0.15,
        ge=0,
        le=1,
        description="largest stretch of each side; 0.15: by 1/1.15 to 1.15 times",
    )
    rotate: float = Field(
        default=10, ge=0, le=180, description="largest rotation either way, degrees"
    )
    rotate_probability: Probability = Field(default=0.5, description="probability of a rotation")
    flip: Probability = Field(default=0.5, description="probability of exchanging left and right")
    flip_vertical: Probability = Field(
        default=0.0,
        description="probability of exchanging top and bottom (microscopes, satellites)",
    )
    colour: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="strength of colour jitter: brightness, contrast and saturation change by up "
        "to this share, the hue by up to a fifth of it (of the circle)",
    )
    grey: Probability = Field(default=0.05, description="probability of dropping the colour")
    invert: Probability = Field(
        default=0.0,
        description="probability of turning bright into dark (microscopes, X-rays)",
    )
    blur: Probability = Field(default=0.0, description="probability of a Gaussian blur")
    blur_sigma: tuple[float, float] = Field(
        default=(0.1, 2.0), description="standard deviation of the blur, px, 0.01 to 50"
    )
    noise: Probability = Field(default=0.0, description="probability of Gaussian noise")
    noise_sigma: tuple[float, float] = Field(
        default=(0.01, 0.05),
        description="standard deviation of the noise, as a share of the range of values, 0 to 1",
    )
    cutout: Probability = Field(
        default=0.0, description="probability of a black rectangle, whose pixels are ignored"
    )
    cutout_area: tuple[float, float] = Field(
        default=(0.02, 0.2), description="the rectangle's share of the crop's area, 0.001 to 0.9"
    )
    copy_paste: Probability = Field(
        default=0.0, description="probability of pasting another image's objects over an image"
    )
    mosaic: Probability = Field(
        default=0.0, description="probability of putting a crop together from four images"
    )
    min_visible: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="objects of which a smaller share of the pixels is left, after cropping and "
        "covering, are dropped",
    )

    @model_validator(mode="after")
    def _ranges_rise(self) -> AugmentConfig:
        for name, least, most in _RANGES:
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                raise ValueError(
                    f"{name}={[low, high]}: expected {least:g} <= low <= high <= {most:g}"
                )
        return self


_RANGES = (
    ("scale", 0.05, 20),
    ("area", 0.001, 1),
    ("blur_sigma", 0.01, 50),
    ("noise_sigma", 0, 1),
    ("cutout_area", 0.001, 0.9),
)
"""Fields that are ranges, with the limits of both ends (in the units of their descriptions)."""


@overload
def build_augmentation(
    config: AugmentConfig, size: int | tuple[int, int], space: LabelSpace, kind: Literal["labels"]
) -> Augmentation[Example]: ...
@overload
def build_augmentation(
    config: AugmentConfig,
    size: int | tuple[int, int],
    space: LabelSpace,
    kind: Literal["instances"],
) -> Augmentation[InstanceExample]: ...
def build_augmentation(
    config: AugmentConfig, size: int | tuple[int, int], space: LabelSpace, kind: Kind
) -> Augmentation[Any]:
    """The augmentation that a configuration describes.

    Parameters
    ----------
    config:
        What is changed, and how much.
    size:
        Side of the crop that the network sees, or its ``(h, w)``, px.
    space:
        Meaning of the labels. For ``kind="labels"``, of the label maps
        (``vitrail.data.sample.label_space`` of a source): what lies outside the image, or
        under a cutout, gets its ``ignore``.
    kind:
        ``"labels"`` for examples with a class for every pixel, ``"instances"`` for examples with
        objects.

    Raises
    ------
    ConfigError
        copy-paste of labels without a background: every pixel would be an object.
    ParameterError
        a side is shorter than 2 px.
    """
    from functools import partial

    from vitrail.data.transforms import Augmentation
    from vitrail.data.transforms.framing import ResizedCrop, ScaleJitter, Stretch
    from vitrail.data.transforms.geometry import Geometry
    from vitrail.data.transforms.instances import InstanceScene
    from vitrail.data.transforms.labels import LabelScene
    from vitrail.data.transforms.photometric import Cutout, photometric
    from vitrail.errors import ConfigError, ParameterError

    shape = (size, size) if isinstance(size, int) else size
    if min(shape) < 2:
        raise ParameterError(f"size={size}: expected at least 2 px a side")
    if kind == "instances":
        read = partial(InstanceScene.read, min_visible=config.min_visible)
    else:
        read = partial(LabelScene.read, target=space)
        if config.copy_paste and space.background is None:
            raise ConfigError(
                f"copy_paste={config.copy_paste:g}: these labels have no background, so there are "
                "no objects to be told from it; set copy_paste=0, or say which class is background"
            )
    framings = {
        "scale-jitter": ScaleJitter(config.scale, config.stretch),
        "resized-crop": ResizedCrop(config.area, config.stretch),
        "stretch": Stretch(),
    }
    return Augmentation(
        read,
        Geometry(
            framings[config.framing],
            shape,
            config.rotate,
            config.rotate_probability,
            config.flip,
            config.flip_vertical,
        ),
        photometric(
            colour=config.colour,
            grey=config.grey,
            invert=config.invert,
            blur=config.blur,
            blur_sigma=config.blur_sigma,
            noise=config.noise,
            noise_sigma=config.noise_sigma,
        ),
        Cutout(config.cutout_area),
        config.cutout,
        config.copy_paste,
        config.mosaic,
    )
