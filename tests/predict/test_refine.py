"""Refining through the package: networks, label maps, probabilities and scribbles."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from skimage import data

import vitrail
from vitrail.cli.main import main
from vitrail.cli.predict import parse_settings
from vitrail.errors import ParameterError, VitrailError
from vitrail.models.base import labels_at
from vitrail.predict.refine import working_size

NAMES = ("ground", "thing")


def disc(height: int = 60, width: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """A bright disc on a dark, slightly noisy ground, and its labels."""
    y, x = np.mgrid[:height, :width]
    labels = ((y - height / 2) ** 2 + (x - width / 2) ** 2 < (height / 3) ** 2).astype(np.uint8)
    noise = np.random.default_rng(0).normal(0, 4, (height, width, 3))
    image = np.where(labels[..., None] > 0, (200, 150, 60), (40, 60, 90)) + noise
    return np.clip(image, 0, 255).astype(np.uint8), labels


def labels_of(result: vitrail.Result) -> np.ndarray:
    assert isinstance(result, vitrail.SemanticResult)
    return result.labels


def overlap(one: np.ndarray, two: np.ndarray) -> float:
    """IoU of class 1."""
    return float((one & two).sum() / (one | two).sum())


def ragged(labels: np.ndarray) -> np.ndarray:
    """Dilated, and with a tenth of the pixels wrong."""
    rough = cv2.dilate(labels, np.ones((5, 5), np.uint8))
    wrong = np.random.default_rng(1).random(labels.shape) < 0.1
    return np.where(wrong, 1 - rough, rough).astype(np.uint8)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return cv2.resize(data.chelsea(), (150, 100), interpolation=cv2.INTER_AREA)


def test_a_rough_label_map_gets_the_picture_s_outline() -> None:
    image, labels = disc()
    rough = ragged(labels)
    result = vitrail.refine(image, rough, NAMES, background=0)
    assert overlap(rough, labels) < 0.75
    assert overlap(result.labels, labels) > 0.98
    assert (result.classes, result.background) == (NAMES, 0)
    assert result.image is not None and result.labels.dtype == np.uint8


def test_a_result_keeps_its_classes_and_colours() -> None:
    image, labels = disc()
    palette = np.array([[0, 0, 0], [9, 8, 7]], np.uint8)
    rough = vitrail.SemanticResult(ragged(labels), NAMES, background=0, palette=palette)
    result = vitrail.refine(image, rough)
    assert overlap(result.labels, labels) > 0.98
    assert (result.classes, result.background) == (NAMES, 0)
    assert result.palette is not None and np.array_equal(result.palette, palette)
    same = vitrail.refine(image, rough.labels, NAMES, background=0)
    assert np.array_equal(result.labels, same.labels)


def test_probabilities_may_come_unnormalised() -> None:
    image, labels = disc()
    rough = ragged(labels)
    planes = np.stack([1 - rough, rough]).astype(np.float64) * 0.8 + 0.1
    one, two = (vitrail.refine(image, p, NAMES).labels for p in (planes, 5 * planes))
    assert overlap(one, labels) > 0.98
    assert np.array_equal(one, two)


@pytest.mark.parametrize("ignore", [255, 2, 0])
def test_scribbles_become_a_label_map(ignore: int) -> None:
    """Few of the one class, many of the other: it is not the number that wins."""
    image, labels = disc()
    scribbles = np.full(labels.shape, 9, np.uint8)
    scribbles[2:5, 5:75] = 0
    scribbles[55:58, 5:75] = 0
    scribbles[28:31, 38:42] = 1
    names = NAMES
    if ignore == 0:  # as the markers of classical methods have it: 0 for nothing
        scribbles += 1
        names = ("unused", *NAMES)
    scribbles[scribbles > 2] = ignore
    result = vitrail.refine(image, scribbles, names, ignore=ignore, confidence=0.99)
    assert overlap(result.labels == len(names) - 1, labels == 1) > 0.95
    assert result.ignore is None


def test_a_compatibility_is_heeded() -> None:
    """Where being beside each other costs nothing, labels stay as they are."""
    image, labels = disc()
    rough = ragged(labels)
    free = vitrail.refine(image, rough, NAMES, compatibility=np.zeros((2, 2)))
    assert np.array_equal(free.labels, rough)


def test_large_images_are_refined_at_a_bounded_size() -> None:
    image, labels = disc(300, 400)
    result = vitrail.refine(image, labels, NAMES, long_side=100, theta_alpha=20)
    assert result.size == (300, 400)
    assert overlap(result.labels, labels) > 0.97
    assert working_size((3000, 4000), 800) == (600, 800)
    assert working_size((1, 4000), 800) == (1, 800)
    assert working_size((30, 40), 800) == (30, 40)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2000), (2000, 1), (33, 47)])
def test_networks_refine_any_shape(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    segmenter = vitrail.load("subjects", refine="crf", crf={"iterations": 2, "long_side": 100})
    assert segmenter(image).size == shape


def test_a_refined_network_moves_its_borders_and_little_else(photo: np.ndarray) -> None:
    plain, refined = vitrail.load("subjects")(photo), vitrail.load("subjects", refine="crf")(photo)
    assert isinstance(plain, vitrail.SemanticResult)
    assert isinstance(refined, vitrail.SemanticResult)
    moved = (plain.labels != refined.labels).mean()
    assert 0 < moved < 0.05
    assert refined.classes == plain.classes and refined.background == plain.background


def test_without_iterations_only_the_upsampling_differs(photo: np.ndarray) -> None:
    settings = {"refine": "crf", "crf": {"iterations": 0}}
    plain, refined = vitrail.load("subjects")(photo), vitrail.load("subjects", **settings)(photo)
    assert (labels_of(plain) == labels_of(refined)).mean() > 0.999


def test_logits_handed_out_are_those_of_the_refined_result(photo: np.ndarray) -> None:
    heard: list[np.ndarray] = []
    segmenter = vitrail.load("subjects", refine="crf", crf={"long_side": 90})
    photos = [photo, photo[:, :60]]
    results = list(
        segmenter.predict(photos, batch_size=2, on_logits=lambda _, planes: heard.append(planes))
    )
    assert [planes.shape for planes in heard] == [(3, 60, 90), (3, 90, 54)]
    for planes, result in zip(heard, results, strict=True):
        assert np.allclose(np.exp(planes).sum(0), 1, atol=1e-4)
        assert np.array_equal(labels_at(planes, result.size), labels_of(result))


def test_the_command_line_refines(tmp_path: Path, photo: np.ndarray, capsys) -> None:
    cv2.imwrite(str(tmp_path / "cat.png"), photo[..., ::-1])
    counts = []
    for more in ([], ["--refine", "crf", "--set", "crf.theta-beta=20", "-s", "crf.iterations=5"]):
        with pytest.raises(SystemExit) as caught:
            out = ["-o", str(tmp_path / "out"), "--json"]
            main(["predict", str(tmp_path / "cat.png"), *out, *more])
        assert not caught.value.code
        counts.append(json.loads(capsys.readouterr().out)["results"][0]["counts"])
    assert counts[0] != counts[1]


def test_dotted_settings_are_groups() -> None:
    assert parse_settings(["crf.theta-beta=5", "k=3", "crf.iterations=2"]) == {
        "crf": {"theta_beta": 5, "iterations": 2},
        "k": 3,
    }
    for wrong in (["crf=1", "crf.iterations=2"], ["crf.=2"], [".k=2"]):
        with pytest.raises(ParameterError, match=r"group\.key=value"):
            parse_settings(wrong)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"refine": "crv"}, "refine='crv': "),
        ({"crf": {"iterations": 3}}, "add refine=crf"),
        ({"refine": "crf", "crf": {"theta_beta": 0}}, r"crf\.theta_beta=0: "),
        ({"refine": "crf", "crf": {"theta": 3}}, r"no parameter 'crf\.theta'; did you mean"),
        ({"refine": "crf", "crf": 3}, "crf=3: "),
    ],
)
def test_bad_settings_of_a_network(settings: dict, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        vitrail.load("subjects", **settings)


@pytest.mark.parametrize(
    ("labelling", "more", "message"),
    [
        (np.zeros((60, 80), int), {"classes": None}, "classes are missing"),
        (np.zeros((60, 79), int), {}, r"shape \(60, 79\)"),
        (np.zeros((60, 80)), {}, "whole numbers"),
        (np.full((60, 80), 2), {}, "labels hold 2, but there are 2 classes"),
        (np.full((60, 80), 7), {"ignore": 7}, "nothing to go by"),
        (np.zeros((60, 80), int), {"confidence": 0.5}, r"confidence=0\.5"),
        (np.zeros((60, 80), int), {"confidence": 1.0}, r"confidence=1\.0"),
        (np.zeros((60, 80), int), {"iterations": -1}, "iterations=-1: "),
        (np.zeros((60, 80), int), {"theta": 1}, "no parameter 'theta'"),
        (np.zeros((60, 80), int), {"device": "gpu"}, "device='gpu'"),
        (np.zeros((3, 60, 80)), {}, "of 3 classes, 2 are named"),
        (np.zeros((2, 60, 81)), {}, r"shape \(2, 60, 81\)"),
        (np.zeros((2, 60, 80), int), {}, "probabilities"),
        (np.full((2, 60, 80), -1.0), {}, "at least 0"),
        (np.zeros((0, 60, 80)), {"classes": []}, r"classes=\[\]: expected at least one"),
        (np.zeros((60, 80), int), {"classes": 2}, "classes=2: expected the names"),
        (np.zeros((60, 80), int), {"classes": "ab"}, "classes='ab': expected the names"),
        ([[0], [0, 1]], {}, "labels or probabilities: cannot be made an array"),
        (np.zeros((60, 80), int), {"confidence": "x"}, "confidence='x': expected"),
        (np.zeros((60, 80), int), {"confidence": None}, "confidence=None: expected"),
        (np.zeros((60, 80), int), {"compatibility": "x"}, "compatibility='x': expected real"),
        (np.zeros((60, 80), int), {"compatibility": [[1], [1, 2]]}, "compatibility: cannot be"),
        (np.zeros((60, 80), int), {"compatibility": np.eye(2) * 1j}, "expected real numbers"),
        (np.zeros((60, 80), int), {"background": "x"}, "background='x': expected the whole"),
        (np.zeros((60, 80), int), {"ignore": 0.5}, "ignore=0.5: expected the whole"),
    ],
)
def test_bad_arguments(labelling: Any, more: dict, message: str) -> None:
    arguments = {"classes": NAMES, **more}
    with pytest.raises(VitrailError, match=message):
        vitrail.refine(disc()[0], labelling, **arguments)


def test_a_result_is_not_named_twice() -> None:
    image, labels = disc()
    with pytest.raises(ParameterError, match="leave them out"):
        vitrail.refine(image, vitrail.SemanticResult(labels, NAMES), NAMES)
