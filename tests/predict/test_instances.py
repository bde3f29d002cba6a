"""A detector behind a segmenter: the network's own answers, in one result a picture."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest
import torch
from skimage import data

import vitrail
from tests.predict.drawn_detector import CLASSES, SQUARE, detector
from vitrail.errors import ParameterError
from vitrail.image import Image
from vitrail.models.instances import Detections, InstanceModel
from vitrail.nn.fuse_layers import FusedConv2d, FusedConvTranspose2d
from vitrail.predict.instances import InstanceNetwork, as_result
from vitrail.predict.network_params import (
    DetectionLimitWarning,
    DetectorParams,
    ShrunkImageWarning,
)
from vitrail.predict.preprocess import to_batch
from vitrail.result import InstanceResult
from vitrail.weights.card import Card, Preprocessing
from vitrail.weights.files import write_checkpoint

CPU = torch.device("cpu")
pytestmark = pytest.mark.filterwarnings(
    "ignore::vitrail.predict.network_params.DetectionLimitWarning"
)


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    shapes = [(120, 160), (160, 120), (90, 300), (120, 160)]
    pictures = [data.astronaut(), data.coffee(), data.chelsea(), data.coffee()]
    return [
        cv2.resize(picture, shape[::-1], interpolation=cv2.INTER_AREA)
        for picture, shape in zip(pictures, shapes, strict=True)
    ]


def engine(
    model: InstanceModel,
    card: Card,
    precision: Literal["float32", "bfloat16"] = "float32",
    **params: float,
) -> InstanceNetwork:
    chosen = DetectorParams.model_validate(params)
    return InstanceNetwork(model, card, device=CPU, precision=precision, params=chosen)


@pytest.fixture(scope="module")
def drawn() -> tuple[InstanceModel, Card]:
    return detector()


@pytest.fixture(scope="module")
def network(drawn: tuple[InstanceModel, Card]) -> InstanceNetwork:
    return engine(*drawn)


def at(network: InstanceNetwork, **params: float) -> InstanceNetwork:
    """The same with other thresholds."""
    other = copy.copy(network)
    other.detection = DetectorParams.model_validate(params).over(network.detection)
    return other


def plainly(model: InstanceModel, card: Card, photo: np.ndarray) -> Detections:
    """What the network itself finds, neither folded nor fused."""
    batch, frames = to_batch([photo], card.preprocessing, stride=model.stride)
    with torch.inference_mode():
        return model.decode(model(batch), frames)[0]


@pytest.mark.parametrize(
    "family",
    [{}, {"pyramid_norm": True, "box_convs": 1, "box_layers": 1, "mask_norm": True}],
    ids=["plain", "with norms everywhere"],
)
def test_objects_are_those_of_the_plain_network(family: dict, photos: list[np.ndarray]) -> None:
    model, card = detector(**family)
    network = engine(model, card)
    for photo in photos[:3]:
        expected, found = plainly(model, card, photo), network(Image(photo))
        assert 10 < len(found) == len(expected.boxes)
        np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-2)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
        np.testing.assert_array_equal(found.class_ids, expected.class_ids)
        assert expected.masks is not None
        one, other = found.masks.dense(), expected.masks.dense()
        assert (one & other).sum() >= 0.999 * (one | other).sum()


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="needs a torch with oneDNN")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_layer_runs_folded_and_fused(precision: Literal["float32", "bfloat16"]) -> None:
    model, card = detector(pyramid_norm=True, box_convs=1, mask_norm=True)
    kinds = [type(module) for module in engine(model, card, precision)._model.modules()]
    assert torch.nn.BatchNorm2d not in kinds
    # The one that turns to bfloat16 stays as it is, and is all that does.
    assert kinds.count(torch.nn.Conv2d) == (precision == "bfloat16")
    assert torch.nn.ConvTranspose2d not in kinds
    assert FusedConv2d in kinds and kinds.count(FusedConvTranspose2d) == 1
    assert torch.nn.BatchNorm2d in map(type, model.modules())  # the network itself is not touched


def test_bfloat16_finds_the_same_objects(
    drawn: tuple[InstanceModel, Card], network: InstanceNetwork, photos: list[np.ndarray]
) -> None:
    fast = engine(*drawn, "bfloat16")
    for photo in photos[:3]:
        one, other = network(Image(photo)), fast(Image(photo))
        near = np.abs(one.boxes[:, None] - other.boxes[None]).max(2) < 4
        near &= one.class_ids[:, None] == other.class_ids[None]
        assert near.any(1).mean() > 0.8


def test_batches_change_nothing(network: InstanceNetwork, photos: list[np.ndarray]) -> None:
    alone = [network(Image(photo)) for photo in photos]
    for found, expected in zip(network.batch([Image(p) for p in photos]), alone, strict=True):
        assert found.size == expected.size and len(found) == len(expected)
        np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-2)
        np.testing.assert_array_equal(found.class_ids, expected.class_ids)


def test_a_centred_picture_comes_back_where_it_was(
    drawn: tuple[InstanceModel, Card], photos: list[np.ndarray]
) -> None:
    """The middle of the square is the picture: objects lie in it, whatever the padding."""
    model, card = drawn
    card = card.model_copy(update={"preprocessing": Preprocessing.model_validate(SQUARE)})
    network = engine(model, card)
    for photo in photos[:3]:
        expected, found = plainly(model, card, photo), network(Image(photo))
        assert len(found) > 5
        np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-2)
        height, width = photo.shape[:2]
        assert (found.boxes >= 0).all() and (found.boxes <= [width, height] * 2).all()
    with pytest.raises(
        ParameterError, match=r"image_size=100: .*multiple of 32; the nearest is 96"
    ):
        engine(model, card, image_size=100)


def test_what_can_be_set(
    drawn: tuple[InstanceModel, Card], network: InstanceNetwork, photos: list[np.ndarray]
) -> None:
    photo = Image(photos[0])
    every = network(photo)
    assert network.detection == drawn[0].params
    some = at(network, score_threshold=0.8)(photo)
    assert 0 < len(some) < len(every) and some.scores.min() >= 0.8
    assert len(at(network, nms=0.0)(photo)) < len(every)
    tight = at(network, mask_threshold=0.9)(photo)
    assert tight.masks.areas().sum() < every.masks.areas().sum()
    small = engine(*drawn, score_threshold=0.7, image_size=64)
    assert small.preprocessing.max_side == round(160 * 64 / 96)
    assert small.detection == drawn[0].params.model_copy(update={"score_threshold": 0.7})


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1)])
def test_any_shape_keeps_its_size(network: InstanceNetwork, shape: tuple[int, int]) -> None:
    found = network(Image(np.zeros((*shape, 3), np.uint8)))
    assert found.size == found.masks.size == shape


def test_nothing_found_is_a_result(network: InstanceNetwork, photos: list[np.ndarray]) -> None:
    found = at(network, score_threshold=1.0)(Image(photos[0]))
    assert len(found) == 0 and found.size == photos[0].shape[:2]
    assert found.masks.dense(objects_last=True).shape == (*found.size, 0)


def test_a_cap_that_was_hit_is_told(network: InstanceNetwork, photos: list[np.ndarray]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        every = at(network, max_detections=1000)(Image(photos[0]))
    assert len(every) > 5 and not every.capped
    with pytest.warns(DetectionLimitWarning, match="max_detections=5"):
        capped = at(network, max_detections=5)(Image(photos[0]))
    assert len(capped) == 5 and capped.capped
    np.testing.assert_allclose(capped.scores, every.scores[:5], atol=1e-6)


@pytest.mark.parametrize(
    ("family", "preprocessing"),
    [({"mask_paste": "edges"}, None), ({"inclusive": True, "mask_paste": "resize"}, SQUARE)],
    ids=["detectron2", "matterport"],
)
def test_a_mirrored_image_has_the_mirrored_objects(
    family: dict, preprocessing: dict | None, photos: list[np.ndarray]
) -> None:
    """Which a network does not find by itself, but where it looks at both."""
    model, card = detector(**family)
    if preprocessing is not None:
        fed = Preprocessing.model_validate(preprocessing)
        card = card.model_copy(update={"preprocessing": fed})
    told = {"score_threshold": 0.6, "max_detections": 1000}
    once, both = engine(model, card, **told), engine(model, card, flip=True, **told)
    whole = "inclusive" in family
    alone = [once(Image(photo)) for photo in (photos[0], photos[0][:, ::-1].copy())]
    assert not same_mirrored(*alone, whole=whole)
    results = both.batch([Image(photo) for photo in photos])
    mirrored = both.batch([Image(photo[:, ::-1].copy()) for photo in photos])
    assert sum(map(len, results)) > 50
    for one, other in zip(results, mirrored, strict=True):
        assert same_mirrored(one, other, whole=whole)


def same_mirrored(one: InstanceResult, other: InstanceResult, *, whole: bool) -> bool:
    """Whether each object of one is one of the other, left and right exchanged."""
    x1, y1, x2, y2 = other.boxes.T
    turned = np.stack([other.size[1] - x2, y1, other.size[1] - x1, y2], 1)
    # Of matterport's whole boxes an edge may be rounded the other way.
    near = np.abs(one.boxes[:, None] - turned[None]).max(2) < (1.01 if whole else 0.05)
    near &= np.abs(one.scores[:, None] - other.scores[None]) < 1e-3
    near &= one.class_ids[:, None] == other.class_ids[None]
    if len(one) != len(other) or not near.any(1).all():
        return False
    if not len(one):
        return True
    partners = near.argmax(1)
    masks, twins = one.masks.dense(), other.masks.dense()[partners][..., ::-1]
    # Drawn weights are nowhere sure: rounding moves a px in a hundred over the threshold.
    return (masks ^ twins).sum() <= 0.03 * masks.sum()


def test_an_image_that_is_shrunk_far_is_told(drawn: tuple[InstanceModel, Card]) -> None:
    small = engine(*drawn, image_size=64, max_detections=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small(Image(np.zeros((250, 250, 3), np.uint8)))
    with pytest.warns(ShrunkImageWarning, match="260 x 260 px is shrunk to 64 x 64 px.* 4.1 px"):
        small(Image(np.zeros((260, 260, 3), np.uint8)))


def test_boxes_alone_are_not_outlines(photos: list[np.ndarray]) -> None:
    found = engine(*detector("faster-rcnn"))(Image(photos[0]))
    assert len(found) > 10 and not found.outlined
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    assert np.abs(found.masks.areas() - sides.prod(1)).max() <= sides.sum(1).max() + 1


def test_a_box_on_the_edge_still_has_a_pixel() -> None:
    boxes = torch.tensor([[9.9, 4.9, 12.0, 7.0], [2.2, 1.2, 2.3, 1.3], [-3.0, -2.0, 4.4, 2.6]])
    one = Detections(boxes, torch.ones(3), torch.zeros(3, dtype=torch.int64), None, False)
    found = as_result(one, CLASSES, Image(np.zeros((5, 10, 3), np.uint8)))
    assert found.masks.boxes().tolist() == [[9, 4, 10, 5], [2, 1, 3, 2], [0, 0, 4, 3]]
    np.testing.assert_allclose(found.boxes[0], [9.9, 4.9, 10, 5])


@pytest.fixture(scope="module")
def checkpoint(drawn: tuple[InstanceModel, Card], tmp_path_factory: pytest.TempPathFactory) -> Path:
    model, card = drawn
    path = tmp_path_factory.mktemp("detector") / "drawn.safetensors"
    write_checkpoint(path, model, card)
    return path


def test_it_loads_as_any_other_model(checkpoint: Path, photos: list[np.ndarray]) -> None:
    segmenter = vitrail.load(checkpoint, precision="float32", score_threshold=0.45)
    results = list(segmenter.predict(photos, batch_size=3))
    assert [result.size for result in results] == [photo.shape[:2] for photo in photos]
    for result in results:
        assert isinstance(result, InstanceResult) and len(result)
        assert sum(result.counts().values()) == len(result)
        assert result.scores.min() >= 0.45
        cutouts = [one.cutout(result.image) for one in result if result.image is not None]
        assert len(cutouts) == len(result) and all(one.shape[2] == 4 for one in cutouts)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"score": 0.5}, "no parameter 'score'; did you mean 'score_threshold'"),
        ({"score_threshold": 1.5}, r"score_threshold=1\.5: .*less than or equal to 1"),
        ({"refine": "crf"}, r"refine is for networks that give every pixel a class.*nms"),
        ({"crf": {}}, r"crf is for networks that give every pixel a class"),
        ({"max_detections": 0}, "max_detections=0"),
    ],
)
def test_parameters_of_detectors(checkpoint: Path, params: dict, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        vitrail.load(checkpoint, **params)


def test_parameters_of_detectors_are_not_for_others() -> None:
    with pytest.raises(
        ParameterError, match=r"nms is for networks that find objects, which subjects is not"
    ):
        vitrail.load("subjects", nms=0.3)
