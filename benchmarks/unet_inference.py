"""One 640x480 photo through ``segmenter(image)`` against segmentation_models.pytorch, on the CPU.

    python benchmarks/unet_inference.py

The peer is the same U-Net with the same weights, built with segmentation_models.pytorch, in eager
float32; only its forward pass is timed, on a tensor that is already resized, padded and
normalised. Ours is the whole call: photo in, label map at 640x480 out. Both are warm: four calls
in a row, of which the last counts. Once at the input size of
the default model, once with the photo at full size. Target: at least 3x, with at least 99.5 %
of pixels equal to our own float32 path.
"""

from __future__ import annotations

import sys
from importlib.metadata import version

import cv2
import numpy as np
import segmentation_models_pytorch as smp
import torch
from _timing import compare, report
from skimage import data

import vitrail
from vitrail.models.registry import build
from vitrail.predict.preprocess import to_batch
from vitrail.weights.catalog import DEFAULT_MODEL, find
from vitrail.weights.files import load_state, read_tensors

TARGET = 3.0
EQUAL = 0.995


def peer_model() -> torch.nn.Module:
    """The default model's network and weights, as segmentation_models.pytorch builds them."""
    entry = find(DEFAULT_MODEL)
    assert entry is not None
    arguments = entry.card.arguments
    model = smp.Unet(
        f"tu-{arguments['encoder']}",
        encoder_weights=None,
        decoder_channels=arguments["decoder_channels"],
        classes=len(entry.card.classes),
    )
    ours = build(entry.card.architecture, arguments)
    load_state(ours, read_tensors(entry.path), entry.path)
    # Both name their tensors in the same order; shapes are checked by the assignment.
    pairs = zip(model.state_dict(), ours.state_dict().values(), strict=True)
    model.load_state_dict(dict(pairs))
    return model.eval()


def main() -> bool:
    # A 4:3 photo: the astronaut, cut to 512x384 and enlarged.
    photo = cv2.resize(data.astronaut()[:384], (640, 480), interpolation=cv2.INTER_CUBIC)
    model = peer_model()
    peer_name = f"segmentation_models.pytorch {version('segmentation_models_pytorch')}"
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, peer: {peer_name}")
    small, full = (measure(photo, model, size) for size in (None, 640))
    return small and full


def measure(photo: np.ndarray, model: torch.nn.Module, image_size: int | None) -> bool:
    """Time one input size and print the outcome; ``None`` is the default model's own."""
    params = {} if image_size is None else {"image_size": image_size}
    segmenter = vitrail.load(DEFAULT_MODEL, device="cpu", **params)
    exact = vitrail.load(DEFAULT_MODEL, device="cpu", precision="float32", **params)
    batch, _ = to_batch([photo], segmenter.engine.preprocessing, stride=32)
    batch = batch.contiguous()
    with torch.inference_mode():
        ours, peer = compare(lambda: segmenter(photo), lambda: model(batch), 41, warmup=5, block=4)
        float32, _ = compare(lambda: exact(photo), lambda: None, 21, warmup=3, block=2)
    equal = float((segmenter(photo).labels == exact(photo).labels).mean())
    title = f"640x480 photo, network input {batch.shape[3]}x{batch.shape[2]}"
    title += f", {segmenter.engine.precision}"
    met = report(title, ours * 1e3, peer * 1e3, TARGET, unit="ms")
    print(f"  our float32 path {float32 * 1e3:.4g} ms   equal pixels {equal:.3%}", end="  ")
    print(f"target >= {EQUAL:.1%}: {'PASS' if equal >= EQUAL else 'MISS'}")
    return met and equal >= EQUAL


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
