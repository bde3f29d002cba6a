"""What is done to a network for speed does not change its answer."""

import numpy as np
import pytest
import torch
from skimage import data

import vitrail
from vitrail.models.registry import build
from vitrail.nn.fuse_layers import FusedAddedConv2d, FusedConv2d, FusedConvTranspose2d
from vitrail.predict.network import Network
from vitrail.predict.preprocess import to_batch
from vitrail.weights.catalog import DEFAULT_MODEL, find
from vitrail.weights.files import load_state, read_tensors


def ready(precision: str) -> Network:
    engine = vitrail.load(DEFAULT_MODEL, device="cpu", precision=precision).engine
    assert isinstance(engine, Network)
    return engine


@pytest.fixture(scope="module")
def plain() -> torch.nn.Module:
    """The default network as it was trained."""
    entry = find(DEFAULT_MODEL)
    assert entry is not None
    model = build(entry.card.architecture, entry.card.arguments)
    load_state(model, read_tensors(entry.path), entry.path)
    return model.eval()


@pytest.mark.parametrize(("precision", "limit"), [("float32", 1e-5), ("bfloat16", 0.05)])
def test_logits_are_those_of_the_plain_network(
    plain: torch.nn.Module, precision: str, limit: float
) -> None:
    network = ready(precision)
    photos = [data.chelsea(), data.astronaut(), data.chelsea()[:200, :90], np.flip(data.chelsea())]
    for photo in photos:  # each of another size than the one before
        batch, _ = to_batch([photo], network.preprocessing, stride=32)
        with torch.inference_mode():
            expected, logits = plain(batch).logits, network._forward(batch).logits
        assert (logits - expected).abs().max() <= limit * expected.abs().max()


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="needs a torch with oneDNN")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_default_network_runs_fused(precision: str) -> None:
    kinds = [type(module) for module in ready(precision)._model.modules()]
    assert kinds.count(FusedConvTranspose2d) == 5
    assert kinds.count(FusedAddedConv2d) == 4
    assert kinds.count(FusedConv2d) > 50
