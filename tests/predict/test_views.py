"""Test-time augmentation: the mean of what the network says of an image seen in several ways."""

import numpy as np
import pytest
import torch
from skimage import data
from torch.nn import functional as F

import vitrail
from tests.drawn_weights import randomise
from vitrail.errors import ParameterError
from vitrail.models.registry import build
from vitrail.predict.network import Network
from vitrail.predict.network_params import NetworkParams
from vitrail.weights.card import Card, Licences, Preprocessing

PHOTO = data.chelsea()[:200, :301]


def network(
    architecture: str = "unet", resize: str = "long-side", side: int = 96, **params: object
) -> Network:
    """A small network with random weights; Gated-SCNN draws boundaries, two classes have one
    channel."""
    arguments: dict[str, object] = {"encoder": "mobilenetv2_100", "classes": 3}
    if architecture == "unet":
        arguments |= {"decoder_channels": [16, 16, 16, 16, 8]}
    if architecture == "gated-scnn":
        arguments |= {"output_stride": 16, "context_channels": 16}
    if architecture == "unet-plain":
        arguments = {"classes": 2, "start": 4}
    torch.manual_seed(0)
    model = build(architecture, arguments)
    randomise(model)
    card = Card(
        name="drawn",
        summary="random weights",
        architecture=architecture,
        arguments=arguments,
        classes=tuple(f"c{index}" for index in range(int(str(arguments["classes"])))),
        preprocessing=Preprocessing(image_size=side, resize=resize),  # pyright: ignore
        training_data="none",
        training_command="none",
        licences=Licences(code="x", weights="x", training_data="x"),
    )
    return Network(
        model.eval(),  # pyright: ignore
        card,
        device=torch.device("cpu"),
        precision="float32",
        params=NetworkParams.model_validate(params),
    )


def logits_of(engine: Network, picture: np.ndarray) -> torch.Tensor:
    told: list[np.ndarray] = []
    engine.batch([vitrail.read_image(picture)], lambda image, logits: told.append(logits))
    return torch.from_numpy(told[0])[None]


@pytest.mark.parametrize("architecture", ["unet", "unet-plain", "gated-scnn"])
def test_the_mirrored_image_gets_the_mirrored_answer(architecture: str) -> None:
    mirrored = np.ascontiguousarray(PHOTO[:, ::-1])
    engine = network(architecture, flip=True)
    one, other = logits_of(engine, PHOTO), logits_of(engine, mirrored).flip(3)
    torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)
    plain = network(architecture)
    alone = (
        logits_of(plain, PHOTO).softmax(1) - logits_of(plain, mirrored).flip(3).softmax(1)
    ).abs()
    assert alone.max() > 1e-3
    if architecture == "gated-scnn":
        images = [vitrail.read_image(picture) for picture in (PHOTO, mirrored)]
        drawn, turned = (result.boundary for result in engine.batch(images))
        assert drawn is not None and turned is not None
        np.testing.assert_allclose(drawn, turned[:, ::-1], atol=1e-4)
        assert np.ptp(drawn) > 1e-3


def test_views_are_averaged_as_probabilities() -> None:
    mirrored = np.ascontiguousarray(PHOTO[:, ::-1])
    by_hand = torch.zeros(1, 3, 96, 144)
    for side in (96, 144):
        engine = network(image_size=side)
        for picture, turn in ((PHOTO, False), (mirrored, True)):
            logits = logits_of(engine, picture)
            logits = F.interpolate(logits, (96, 144), mode="bilinear", align_corners=False)
            by_hand += (logits.flip(3) if turn else logits).softmax(1) / 4
    found = logits_of(network(scales=[1, 1.5], flip=True), PHOTO).exp()
    torch.testing.assert_close(found, by_hand, atol=1e-5, rtol=1e-4)


def test_each_image_gets_what_it_gets_alone() -> None:
    engine = network(flip=True, scales=[0.5, 1])
    images = [vitrail.read_image(part) for part in (PHOTO, PHOTO[:90], PHOTO[:, :120], PHOTO)]
    together = engine.batch(images)
    for image, result in zip(images, together, strict=True):
        assert result.labels.shape == image.size
        assert (engine(image).labels == result.labels).mean() > 0.999


def test_stretched_input_and_refinement_work_with_it() -> None:
    stretched = network(resize="stretch", flip=True)(vitrail.read_image(PHOTO))
    assert stretched.labels.shape == PHOTO.shape[:2]
    engine = network(flip=True, refine="crf")
    refined = logits_of(engine, PHOTO)
    assert refined.shape[2:] == PHOTO.shape[:2]
    torch.testing.assert_close(refined.exp().sum(1), torch.ones(1, *PHOTO.shape[:2]))


def test_a_card_may_have_a_side_that_no_user_may_ask_for() -> None:
    engine = network(side=24)
    assert logits_of(engine, PHOTO).shape[2:] == (16, 24)


def test_one_scale_is_the_size_itself() -> None:
    torch.testing.assert_close(logits_of(network(scales=1), PHOTO), logits_of(network(), PHOTO))
    torch.testing.assert_close(
        logits_of(network(scales=[1.5]), PHOTO), logits_of(network(image_size=144), PHOTO)
    )


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"scales": []}, "at least 1 item"),
        ({"scales": "0.5,1"}, r"expected a list of numbers, such as \[0.8"),
        ({"scales": [0]}, "greater than 0"),
        ({"scales": [float("nan")]}, "finite"),
        ({"scales": [1, 0.01]}, "0.01 times image_size=288 is 3 px; expected 32 to 8192"),
        ({"flip": "perhaps"}, "boolean"),
    ],
)
def test_bad_values_are_named(params: dict[str, object], told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        vitrail.load("subjects", **params)  # pyright: ignore
