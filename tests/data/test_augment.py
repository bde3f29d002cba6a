"""Settings of augmentation: ranges, defaults, and what is built from them."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torchvision import tv_tensors

from tests.data.drawn_sources import DrawnLabels
from vitrail.data.augment import AugmentConfig, build_augmentation
from vitrail.data.sample import LabelSpace
from vitrail.data.transforms import TrainingSet
from vitrail.data.transforms.framing import ResizedCrop, ScaleJitter, Stretch
from vitrail.data.transforms.photometric import Cutout, photometric
from vitrail.errors import ConfigError, ParameterError

OFF = dict.fromkeys(
    ("rotate", "flip", "flip_vertical", "colour", "grey", "blur", "noise", "cutout", "mosaic"), 0
)


@pytest.mark.parametrize("name", sorted(AugmentConfig.model_fields))
def test_every_field_says_what_it_is_and_has_limits(name: str) -> None:
    field = AugmentConfig.model_fields[name]
    assert field.description
    if name == "framing":
        return
    pair = isinstance(field.default, tuple)
    for wrong in (-0.5, 1e6, float("nan")):
        with pytest.raises(ValidationError, match=name):
            AugmentConfig.model_validate({name: (wrong, wrong) if pair else wrong})
    if pair:
        low, high = field.default
        with pytest.raises(ValidationError, match=rf"{name}=\[.*\]: expected .* <= low <= high"):
            AugmentConfig.model_validate({name: (high, low)})


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        AugmentConfig.model_validate({"mosiac": 1})
    with pytest.raises(ValidationError, match="resized-crop"):
        AugmentConfig.model_validate({"framing": "letterbox"})


def test_nothing_is_risked_by_default() -> None:
    """What changes the scene, not only how it is seen, is off."""
    config = AugmentConfig()
    assert not any((config.mosaic, config.copy_paste, config.cutout, config.blur, config.noise))
    assert config.flip_vertical == 0
    assert (config.scale, config.flip, config.rotate) == ((0.75, 1.75), 0.5, 10)
    assert (config.colour, config.grey, config.stretch) == (0.3, 0.05, 0.15)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("scale-jitter", ScaleJitter), ("resized-crop", ResizedCrop), ("stretch", Stretch)],
)
def test_framings_by_name(name: str, kind: type) -> None:
    config = AugmentConfig.model_validate({"framing": name})
    built = build_augmentation(config, 32, LabelSpace(("a",)), "labels")
    assert isinstance(built.geometry.framing, kind)


def test_with_all_off_a_sample_stays_as_it_is() -> None:
    config = AugmentConfig.model_validate({**OFF, "framing": "stretch"})
    shown = TrainingSet(DrawnLabels(), build_augmentation(config, 64, DrawnLabels.space, "labels"))
    for index in range(8):
        sample, example = DrawnLabels()[index], shown[(0, index)]
        assert np.array_equal(example.image.permute(1, 2, 0).numpy(), sample.image)
        assert sample.labels is not None
        assert np.array_equal(example.labels.numpy(), sample.labels)


@pytest.mark.parametrize("size", [32, (24, 40)])
@pytest.mark.parametrize("mosaic", [0, 1])
def test_crops_have_the_size_that_was_asked(size: int | tuple[int, int], mosaic: float) -> None:
    config = AugmentConfig(mosaic=mosaic, rotate=90)
    shown = TrainingSet(
        DrawnLabels(), build_augmentation(config, size, DrawnLabels.space, "labels")
    )
    expected = (32, 32) if isinstance(size, int) else size
    for index in range(8):
        image, labels, _ = shown[(0, index)]
        assert image.shape == (3, *expected) and labels.shape == expected
        assert image.is_contiguous() and labels.is_contiguous()
        assert type(image) is type(labels) is torch.Tensor


def test_what_cannot_be_built() -> None:
    stuff = LabelSpace(("sky", "road"))
    with pytest.raises(ConfigError, match=r"copy_paste=0.5: these labels have no background"):
        build_augmentation(AugmentConfig(copy_paste=0.5), 32, stuff, "labels")
    build_augmentation(AugmentConfig(copy_paste=0.5), 32, stuff, "instances")
    with pytest.raises(ParameterError, match=r"size=1: expected at least 2 px"):
        build_augmentation(AugmentConfig(), 1, stuff, "labels")


def changed(**settings: object) -> torch.Tensor:
    """Differences, in grey levels, of 60 flat crops of 60, 120, 180 from what they were."""
    nothing = {
        "colour": 0.0,
        "grey": 0.0,
        "blur": 0.0,
        "blur_sigma": (1.0, 1.0),
        "noise": 0.0,
        "noise_sigma": (0.1, 0.1),
    }
    change = photometric(**{**nothing, **settings})  # pyright: ignore[reportArgumentType]
    assert change is not None
    flat = torch.tensor([60, 120, 180], dtype=torch.uint8)[:, None, None].expand(3, 16, 16)
    torch.manual_seed(0)
    crops = [change(tv_tensors.Image(flat.contiguous())) for _ in range(60)]
    assert all(crop.shape == (3, 16, 16) and crop.dtype == torch.uint8 for crop in crops)
    return torch.stack(crops).float() - flat.float()


def test_colours_change_as_often_and_as_much_as_asked() -> None:
    assert changed(grey=1.0).var(1).max() > 0
    assert not (changed(grey=1.0) + torch.tensor([60, 120, 180])[:, None, None]).diff(dim=1).any()
    assert 0.3 < changed(grey=0.5).flatten(1).any(1).float().mean() < 0.7
    turned = changed(invert=0.5).flatten(2)[..., 0]
    assert {tuple(one) for one in turned.tolist()} == {(0, 0, 0), (135, 15, -105)}
    assert 0.3 < turned.any(1).float().mean() < 0.7
    strong, weak = changed(colour=0.6).abs().mean(), changed(colour=0.1).abs().mean()
    assert strong > 3 * weak > 0
    assert not changed(blur=1.0).any()  # a flat crop has nothing to blur
    noise = changed(noise=1.0)
    assert noise.std() == pytest.approx(25.5, rel=0.1)
    assert noise.mean().abs() < 1
    assert (
        photometric(colour=0, grey=0, blur=0, blur_sigma=(1, 1), noise=0, noise_sigma=(0, 0))
        is None
    )


def test_a_blur_spreads_a_point() -> None:
    change = photometric(colour=0, grey=0, blur=1, blur_sigma=(2, 2), noise=0, noise_sigma=(0, 0))
    assert change is not None
    point = torch.zeros((3, 41, 41), dtype=torch.uint8)
    point[:, 18:23, 18:23] = 250
    spread = change(tv_tensors.Image(point)).float()[0]
    offsets = torch.arange(41.0) - 20
    variance = (spread.sum(0) * offsets**2).sum() / spread.sum()
    assert variance == pytest.approx(2**2 + 2, rel=0.1)  # of a bar of 5 px: 2


def test_a_rectangle_that_cannot_fit_cuts_nothing() -> None:
    image = torch.full((3, 8, 200), 9, dtype=torch.uint8)
    cutout = Cutout((0.9, 0.9))
    torch.manual_seed(0)
    same, rectangle = cutout(image)
    assert rectangle == (0, 0, 0, 0)
    assert torch.equal(same, image)
