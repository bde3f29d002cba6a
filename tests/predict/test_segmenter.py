"""One call for every method; one result kind each; nothing lost on the way."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from skimage import data

import vitrail
from vitrail.classical import METHODS
from vitrail.errors import ImageError, ParameterError, SourceError, UnknownNameError, WeightsError
from vitrail.predict.network import Network
from vitrail.weights.catalog import ALIASES, DEFAULT_MODEL, PACKAGED

PROMPTS = {
    "grabcut": {"box": [60, 20, 140, 110]},
    "region-growing": {"seeds": [[80, 60]]},
    "random-walker": {"seeds": [[80, 60, 1], [5, 5, 2]]},
}
KINDS = {"threshold": "semantic", "edges": "edges", "grabcut": "semantic"}


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return cv2.resize(data.chelsea(), (160, 120), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module")
def exact() -> vitrail.Segmenter:
    return vitrail.load(DEFAULT_MODEL, precision="float32")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_answers_at_the_image_size(name: str, photo: np.ndarray) -> None:
    result = vitrail.load(name, **PROMPTS.get(name, {}))(photo)
    assert result.size == photo.shape[:2]
    assert result.kind == KINDS.get(name, result.kind)
    assert result.plot().shape == photo.shape
    assert result.image is not None and result.image.pixels is not None


def test_the_packaged_model_finds_cat_and_astronaut() -> None:
    segmenter = vitrail.load("subjects")
    cat, astronaut = segmenter(data.chelsea()), segmenter(data.astronaut())
    assert cat.classes == ("background", "person", "animal")
    assert (cat.labels[80:250, 130:330] == 2).mean() > 0.95  # Chelsea's face
    assert (astronaut.labels[40:150, 200:290] == 1).mean() > 0.95  # the face
    assert (astronaut.labels == 2).mean() < 0.01


@pytest.mark.parametrize("bright", [False, True])
def test_the_packaged_nuclei_model_counts_drawn_cells(bright: bool) -> None:
    """Twenty blurred ellipses of several sizes on a dark ground; and dark ones on a bright one."""
    dice = np.random.default_rng(0)
    picture = np.full((256, 256), 12, np.uint8)
    for index in range(20):
        centre = (30 + 50 * (index % 5), 32 + 64 * (index // 5))
        axes = (int(dice.integers(6, 11)), int(dice.integers(8, 15)))
        angle, tone = int(dice.integers(180)), int(dice.integers(70, 160))
        cv2.ellipse(picture, centre, axes, angle, 0, 360, tone, -1)
    picture = cv2.GaussianBlur(picture, (0, 0), 1.5) + dice.integers(0, 6, picture.shape, np.uint8)
    found = vitrail.load("nuclei")(255 - picture if bright else picture)
    assert isinstance(found, vitrail.InstanceResult)
    assert len(found) == 20
    assert found.classes == ("nucleus",)
    area = (picture > 45).sum()
    assert 0.85 < sum(segment.area for segment in found.segments()) / area < 1.15


def test_precisions_agree(exact: vitrail.Segmenter) -> None:
    for photo in (data.chelsea(), data.astronaut(), data.coffee()):
        fast = vitrail.load(DEFAULT_MODEL, precision="bfloat16")(photo)
        assert (fast.labels == exact(photo).labels).mean() > 0.995


def test_all_kinds_of_source_are_one_image(
    exact: vitrail.Segmenter, photo: np.ndarray, tmp_path: Path
) -> None:
    import PIL.Image

    path = tmp_path / "cat.png"
    cv2.imwrite(str(path), photo[..., ::-1])
    tensor = torch.from_numpy(photo).permute(2, 0, 1)
    expected = exact(photo).labels
    for source in (path, str(path), PIL.Image.fromarray(photo), tensor, vitrail.read_image(path)):
        assert np.array_equal(exact(source).labels, expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2000), (2000, 1), (33, 47), (700, 31)])
def test_any_shape_keeps_its_size(exact: vitrail.Segmenter, shape: tuple[int, int]) -> None:
    assert exact(np.zeros((*shape, 3), np.uint8)).size == shape


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_batches_change_nothing(exact: vitrail.Segmenter, batch_size: int) -> None:
    """Landscapes, portraits and squares together: order kept, each as if it were alone."""
    cat = data.chelsea()
    photos = [cat, cat[:, :200], data.astronaut(), cat[:150], cat[::2, ::2]]
    results = list(exact.predict(photos, batch_size=batch_size))
    assert [result.size for result in results] == [photo.shape[:2] for photo in photos]
    for photo, result in zip(photos, results, strict=True):
        assert (result.labels == exact(photo).labels).mean() > 0.9999


def test_predict_streams(exact: vitrail.Segmenter, photo: np.ndarray) -> None:
    taken = []

    def sources():
        for index in range(100):
            taken.append(index)
            yield photo

    results = exact.predict(sources(), batch_size=2)
    next(results), next(results), next(results)
    assert len(taken) == 4


def test_folders_patterns_and_failures(tmp_path: Path, photo: np.ndarray) -> None:
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), photo)
    (tmp_path / "c.png").write_bytes(b"")
    segmenter = vitrail.load("threshold")
    with pytest.raises(vitrail.VitrailError, match=r"c\.png"):
        list(segmenter.predict(tmp_path))
    failures: list[str] = []
    sources = [tmp_path, str(tmp_path / "*.gif"), tmp_path / "none.png"]
    results = list(segmenter.predict(sources, on_error=lambda name, _: failures.append(name)))
    assert [result.image.stem for result in results] == ["a", "b"]
    assert [Path(name).name for name in failures] == ["*.gif", "none.png", "c.png"]


def test_missing_sources_are_known_before_the_first_result(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.png"):
        vitrail.load("threshold").predict([tmp_path / "none.png"])


def test_image_size_is_the_networks_only_parameter(photo: np.ndarray) -> None:
    assert vitrail.load("subjects", image_size=128)(photo).size == photo.shape[:2]
    with pytest.raises(ParameterError, match=r"image_size=3"):
        vitrail.load("subjects", image_size=3)
    with pytest.raises(
        ParameterError, match=r"no parameter 'imagesize'; did you mean 'image_size'"
    ):
        vitrail.load("subjects", imagesize=128)


def test_unknown_names_and_parameters() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'kmeans'"):
        vitrail.load("kmean")
    with pytest.raises(ParameterError, match=r"kmeans has no parameter 'clusters'"):
        vitrail.load("kmeans", clusters=3)
    with pytest.raises(ParameterError, match=r"kmeans: k=0: .*greater than or equal to"):
        vitrail.load("kmeans", k=0)
    with pytest.raises(ParameterError, match="takes no weights"):
        vitrail.load("kmeans", weights="model.safetensors")
    with pytest.raises(ParameterError, match="batch_size=0"):
        vitrail.load("kmeans").predict([], batch_size=0)


def test_a_checkpoint_by_path_or_as_weights(tmp_path: Path, photo: np.ndarray) -> None:
    path = tmp_path / "copy.safetensors"
    path.write_bytes((PACKAGED / f"{DEFAULT_MODEL}.safetensors").read_bytes())
    expected = vitrail.load("subjects")(photo).labels
    assert np.array_equal(vitrail.load(path)(photo).labels, expected)
    assert np.array_equal(vitrail.load("subjects", weights=path)(photo).labels, expected)
    with pytest.raises(WeightsError, match="no such checkpoint"):
        vitrail.load(tmp_path / "none.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="cut short"):
        vitrail.load("subjects", weights=path)


def test_list_models_knows_everything_that_loads() -> None:
    models = vitrail.list_models()
    assert {model.name for model in models if model.kind == "classical"} == set(METHODS)
    networks = {model.name: model for model in models if model.kind == "network"}
    assert set(ALIASES.values()) <= set(networks)
    assert networks[DEFAULT_MODEL].aliases == ("subjects",)


class Faulty:
    """A network that has no answer for black pictures, whatever else is in the batch."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.passes: list[int] = []

    def __call__(self, image: vitrail.Image) -> vitrail.RegionResult:
        return self.batch([image])[0]

    def batch(self, images, on_logits=None) -> list[vitrail.RegionResult]:
        self.passes.append(len(images))
        if any(not image.pixels.any() for image in images):
            raise self.error
        return [vitrail.RegionResult(image.pixels[..., 0], image=image) for image in images]


OUT_OF_MEMORY = [
    MemoryError(),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
]


@pytest.mark.parametrize("error", [*OUT_OF_MEMORY, ParameterError("no seed lies in it")])
def test_a_fault_of_one_image_loses_no_other(error: Exception, photo: np.ndarray) -> None:
    engine = Faulty(error)
    sources = [photo, np.zeros_like(photo), photo, photo[:50], np.zeros_like(photo)]
    told: list[str] = []
    segmenter = vitrail.Segmenter("faulty", engine)
    results = segmenter.predict(
        sources, batch_size=4, on_error=lambda _, fault: told.append(str(fault))
    )
    assert [result.size for result in results] == [photo.shape[:2]] * 2 + [(50, 160)]
    assert engine.passes == [4, 1, 1, 1, 1, 1]
    expected = str(error) if isinstance(error, ParameterError) else "not enough memory"
    assert len(told) == 2 and all(expected in line for line in told)


def test_without_a_listener_a_fault_ends_it_after_the_results_before_it(photo: np.ndarray) -> None:
    results = vitrail.Segmenter("faulty", Faulty(MemoryError())).predict(
        [photo, np.zeros_like(photo)], batch_size=2
    )
    assert next(results).size == photo.shape[:2]
    with pytest.raises(ImageError, match="not enough memory"):
        next(results)


def test_what_is_no_images_fault_is_not_taken_for_one(photo: np.ndarray) -> None:
    engine = Faulty(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    sources = [photo, np.zeros_like(photo)]
    told: list[str] = []
    with pytest.raises(RuntimeError, match="mat1"):
        list(
            vitrail.Segmenter("faulty", engine).predict(
                sources, batch_size=2, on_error=lambda name, _: told.append(name)
            )
        )
    assert told == [] and engine.passes == [2]


def test_a_networks_batch_loses_no_image_to_another(
    exact: vitrail.Segmenter, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = exact.engine
    assert isinstance(engine, Network)
    decode = engine._decode

    def scarce(raw, frames):
        if any(frame.original == (50, 160) for frame in frames):
            raise MemoryError
        return decode(raw, frames)

    monkeypatch.setattr(engine, "_decode", scarce)
    told: list[str] = []
    seen: list[tuple[int, int]] = []
    results = exact.predict(
        [photo, photo[:50], photo],
        batch_size=3,
        on_error=lambda _, fault: told.append(str(fault)),
        on_logits=lambda image, _: seen.append(image.size),
    )
    assert [result.size for result in results] == seen == [photo.shape[:2]] * 2
    assert len(told) == 1 and "not enough memory" in told[0]
