"""torchvision's segmentation networks: the same logits from the same files, and the same input."""

import hashlib
from importlib.metadata import version
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from skimage import data
from torchvision.models import segmentation
from torchvision.transforms._presets import SemanticSegmentation

import vitrail
from tests.drawn_weights import randomise
from tests.local_server import local_server
from vitrail.models.registry import build
from vitrail.predict.preprocess import to_batch
from vitrail.weights import catalog as names
from vitrail.weights.card import Card
from vitrail.weights.catalog import Entry
from vitrail.weights.files import load_state
from vitrail.weights.importers import tensors_for
from vitrail.weights.published.semantic import SEMANTIC

TORCHVISION = f"torchvision-{version('torchvision')}"

ENUMS = {
    "fcn-resnet50-coco": segmentation.FCN_ResNet50_Weights,
    "fcn-resnet101-coco": segmentation.FCN_ResNet101_Weights,
    "deeplabv3-resnet50-coco": segmentation.DeepLabV3_ResNet50_Weights,
    "deeplabv3-resnet101-coco": segmentation.DeepLabV3_ResNet101_Weights,
    "deeplabv3-mobilenetv3-coco": segmentation.DeepLabV3_MobileNet_V3_Large_Weights,
    "lraspp-mobilenetv3-coco": segmentation.LRASPP_MobileNet_V3_Large_Weights,
}
CARDS = {card.name: card for card in SEMANTIC}


def theirs(name: str) -> torch.nn.Module:
    """torchvision's network with the shape of its published weights, with random ones."""
    torch.manual_seed(0)
    functions = {
        "fcn-resnet50-coco": segmentation.fcn_resnet50,
        "fcn-resnet101-coco": segmentation.fcn_resnet101,
        "deeplabv3-resnet50-coco": segmentation.deeplabv3_resnet50,
        "deeplabv3-resnet101-coco": segmentation.deeplabv3_resnet101,
        "deeplabv3-mobilenetv3-coco": segmentation.deeplabv3_mobilenet_v3_large,
        "lraspp-mobilenetv3-coco": segmentation.lraspp_mobilenet_v3_large,
    }
    auxiliary = {} if name.startswith("lraspp") else {"aux_loss": True}
    model = functions[name](weights=None, weights_backbone=None, num_classes=21, **auxiliary)
    randomise(model)
    return model.eval()


@pytest.mark.parametrize("name", CARDS, ids=lambda name: f"{TORCHVISION}-{name}")
def test_logits_are_equal_through_a_file(name: str, tmp_path: Path) -> None:
    reference, card, path = theirs(name), CARDS[name], tmp_path / "local.pth"
    torch.save(reference.state_dict(), path)
    ours = build(card.architecture, card.arguments).eval()
    load_state(ours, tensors_for(card, path), path)
    images = torch.randn(1, 3, 97, 131)
    with torch.inference_mode():
        expected, logits = reference(images)["out"], ours(images).logits
    assert expected.std() > 1e-3 * expected.abs().max()  # not one constant
    assert (logits - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("name", CARDS, ids=lambda name: f"{TORCHVISION}-{name}")
def test_the_card_says_what_torchvision_says(name: str) -> None:
    card, weights = CARDS[name], ENUMS[name].COCO_WITH_VOC_LABELS_V1
    assert card.download is not None
    assert card.download.url == weights.url
    assert weights.url.endswith(f"{card.download.sha256}.pth")
    assert abs(card.download.size / 2**20 - weights.meta["_file_size"]) < 1e-3
    ours = ["__background__", *card.classes[1:]]
    assert ours == weights.meta["categories"] and card.background == 0
    assert card.training_command.endswith(weights.meta["recipe"].removeprefix("https://"))
    scores = weights.meta["_metrics"]["COCO-val2017-VOC-labels"]
    assert card.scores[0].values == {
        "mean_iou": pytest.approx(scores["miou"] / 100),
        "pixel_accuracy": pytest.approx(scores["pixel_acc"] / 100),
    }
    preset = weights.transforms()
    assert [card.preprocessing.image_size] == preset.resize_size
    assert list(card.preprocessing.mean) == preset.mean
    assert list(card.preprocessing.std) == preset.std
    with torch.device("meta"):
        parameters = build(card.architecture, card.arguments).parameters()
    assert sum(p.numel() for p in parameters) == weights.meta["num_params"]


@pytest.mark.parametrize("photo", ["astronaut", "chelsea", "hubble_deep_field"])
@pytest.mark.parametrize("turned", [False, True])
def test_the_input_is_that_of_the_preset(photo: str, turned: bool) -> None:
    """torchvision's preset of a PIL image, value for value, larger and smaller than 520 px."""
    picture = getattr(data, photo)()
    picture = np.ascontiguousarray(np.swapaxes(picture, 0, 1)) if turned else picture
    expected = SemanticSegmentation(resize_size=520)(PIL.Image.fromarray(picture))
    batch, _ = to_batch([picture], SEMANTIC[0].preprocessing, stride=32)
    assert batch.shape[1:] == expected.shape
    torch.testing.assert_close(batch[0], expected, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, bytes]:
    """A network, and its file as torchvision would publish it."""
    reference, path = theirs("lraspp-mobilenetv3-coco"), tmp_path_factory.mktemp("p") / "own.pth"
    torch.save(reference.state_dict(), path)
    return reference, path.read_bytes()


def test_predictions_are_equal_from_a_server(
    published: tuple[torch.nn.Module, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the name to the labels, as torchvision's documentation does it."""
    reference, content = published
    card = CARDS["lraspp-mobilenetv3-coco"]
    monkeypatch.setenv("VITRAIL_CACHE", str(tmp_path))
    photo = data.chelsea()
    with local_server() as server:
        server.add("own.pth", content)
        own = _published_at(card, f"{server.url}/own.pth", content)
        monkeypatch.setitem(names.catalog(), card.name, Entry(own))
        segmenter = vitrail.load(card.name, device="cpu", precision="float32")
        again = vitrail.load(card.name, device="cpu", precision="float32")
        assert len(server.requests) == 1
    seen: list[np.ndarray] = []
    result = list(segmenter.predict([photo], on_logits=lambda image, logits: seen.append(logits)))
    with torch.inference_mode():
        batch = SemanticSegmentation(resize_size=520)(PIL.Image.fromarray(photo))[None]
        expected = reference(batch)["out"][0].numpy()
    assert seen[0].shape == expected.shape
    assert np.abs(seen[0] - expected).max() <= 1e-4 * np.abs(expected).max()
    assert result[0].size == photo.shape[:2]
    assert np.array_equal(again(photo).labels, result[0].labels)  # pyright: ignore


def _published_at(card: Card, url: str, content: bytes) -> Card:
    """The card with another address; of the checksum only the beginning, as in the real one."""
    assert card.download is not None
    where = {
        "url": url,
        "size": len(content),
        "size_within": 0,
        "sha256": hashlib.sha256(content).hexdigest()[:8],
    }
    return card.model_copy(update={"download": card.download.model_copy(update=where)})
