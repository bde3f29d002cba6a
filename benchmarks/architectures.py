"""Our networks against torchvision's and segmentation_models.pytorch's with the same weights.

    python benchmarks/architectures.py [--models NAME ...] [--weights DIR] [--json FILE]

Each network of the two libraries that can be imported is drawn once, random and seeded, and its
weights are ours, too. One photograph of 512x512, on the CPU, 21 classes. Ours is the whole path,
``vitrail.predict.network.Network``: uint8 picture in, label map out. The peer is in eager float32;
only its forward pass and the arg-max are timed, on a tensor that is already normalised. All are
warmed; then they take turns, and the best of each counts. Targets: ours in float32 is not slower
(1x), and in bfloat16, where the CPU has instructions for it, at least 2x as fast.

Which pixels keep their class in bfloat16 is judged on trained weights: drawn ones leave so many
pixels between two classes that their share says little, and it is printed without a target.
Trained are the default model and the checkpoints in ``--weights``; they are run on photographs at
their own size through ``segmenter(image)``, in both formats. Target: 99.5 % of the pixels equal.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import torch
from _peers import PEERS
from _timing import report
from jpu import best_of
from skimage import data

import vitrail
from vitrail.errors import VitrailError
from vitrail.image import Image, read_image
from vitrail.predict.device import Precision, cpu_has_bfloat16
from vitrail.predict.network import Network
from vitrail.predict.network_params import NetworkParams
from vitrail.predict.preprocess import to_batch
from vitrail.result import SemanticResult
from vitrail.weights.catalog import DEFAULT_MODEL

TARGETS: dict[Precision, float] = {"float32": 1.0, "bfloat16": 2.0}
EQUAL = 0.995
SAME_NETWORK = 0.99
"""Least share of pixels to which the peer gives our class; below it, they are two networks."""
CPU = torch.device("cpu")


def measure(name: str, photo: np.ndarray, options: argparse.Namespace) -> dict[str, object]:
    """Time one network in each format against its peer, and print the outcome."""
    pair = PEERS[name](name, options.size)
    formats: list[Precision] = [p for p in TARGETS if p == "float32" or cpu_has_bfloat16()]
    params = NetworkParams.model_validate({})
    networks = [
        Network(pair.ours, pair.card, device=CPU, precision=p, params=params) for p in formats
    ]
    batch, _ = to_batch([photo], pair.card.preprocessing, stride=pair.ours.stride)
    batch = batch.contiguous()
    assert batch.shape[2:] == photo.shape[:2]
    runs: list[Callable[[], object]] = [lambda net=net: net(Image(photo)) for net in networks]
    with torch.inference_mode():
        theirs = pair.peer(batch).argmax(1)[0].numpy()
        *ours, peer = best_of(
            (*runs, lambda: pair.peer(batch).argmax(1)), options.repeats, options.warmup, CPU
        )
    labels = [net(Image(photo)).labels for net in networks]
    same = _share(labels[0], theirs)
    if same < SAME_NETWORK:
        raise SystemExit(f"{name}: {same:.2%} of the pixels as the peer has them; other networks")
    row: dict[str, object] = {"name": name, "peer_ms": peer * 1e3, "equal_to_peer": same}
    met = True
    for precision, seconds in zip(formats, ours, strict=True):
        title = f"{name}, {options.size}x{options.size}, {precision}"
        met &= report(title, seconds * 1e3, peer * 1e3, TARGETS[precision], unit="ms")
        row[f"{precision}_ms"], row[f"{precision}_ratio"] = seconds * 1e3, peer / seconds
    print(f"  as the peer {same:.3%} of the pixels", end="")
    if len(labels) > 1:
        row["equal_random_weights"] = _share(*labels)
        print(f"; bfloat16 as float32 {row['equal_random_weights']:.2%} (random weights)", end="")
    print(flush=True)
    return row | {"met": met}


def measure_trained(
    model: str, photos: Sequence[Image], options: argparse.Namespace
) -> dict[str, object]:
    """Compare a trained network's two formats on photographs, and print the outcome."""
    exact, fast = (vitrail.load(model, device="cpu", precision=precision) for precision in TARGETS)
    equal, pixels = 0, 0
    for photo in photos:
        labels = []
        for segmenter in (exact, fast):
            result = segmenter(photo)
            assert isinstance(result, SemanticResult)
            labels.append(result.labels)
        equal += int(np.count_nonzero(labels[0] == labels[1]))
        pixels += labels[0].size
    slow_s, fast_s = best_of(
        (lambda: exact(photos[0]), lambda: fast(photos[0])), options.repeats, options.warmup, CPU
    )
    share = equal / pixels
    print(f"{model}, trained, {len(photos)} photographs")
    print(f"  float32 {slow_s * 1e3:.4g} ms   bfloat16 {fast_s * 1e3:.4g} ms (the first of them)")
    print(f"  equal pixels {share:.3%}   target >= {EQUAL:.1%}: ", end="")
    print("PASS" if share >= EQUAL else "MISS", flush=True)
    return {
        "name": model,
        "photographs": len(photos),
        "float32_ms": slow_s * 1e3,
        "bfloat16_ms": fast_s * 1e3,
        "equal": share,
        "met": share >= EQUAL,
    }


def trained_models(folder: Path | None) -> list[str]:
    """The default model, and the checkpoints of a folder."""
    found = [] if folder is None else sorted(folder.glob("*.safetensors"))
    if folder is not None and not found:
        raise SystemExit(f"{folder}: holds no .safetensors file")
    return [DEFAULT_MODEL, *map(str, found)]


def trained_photos(paths: Sequence[Path] | None) -> list[Image]:
    """What the trained networks are run on."""
    if paths is not None:
        return [read_image(path) for path in paths]
    return [Image(picture()) for picture in (data.astronaut, data.chelsea, data.coffee)]


def _share(one: np.ndarray, other: np.ndarray) -> float:
    return float((one == other).mean())


def parse() -> argparse.Namespace:
    """What was asked for, checked."""
    parser = argparse.ArgumentParser(description="Networks against those of other libraries")
    parser.add_argument(
        "--models", nargs="*", default=list(PEERS), choices=PEERS, metavar="NAME", help="the pairs"
    )
    parser.add_argument("--weights", type=Path, help="folder of trained .safetensors checkpoints")
    parser.add_argument(
        "--photos", type=Path, nargs="+", help="for the trained ones; default: three of skimage's"
    )
    parser.add_argument("--size", type=int, default=512, help="side of the image, px; 32 n")
    parser.add_argument("--repeats", type=int, default=10, help="of each; the best counts")
    parser.add_argument("--warmup", type=int, default=3, help="runs of each that do not count")
    parser.add_argument("--json", type=Path, help="where to write the numbers, if anywhere")
    options = parser.parse_args()
    if options.size < 32 or options.size % 32:
        parser.error(f"--size {options.size}: expected a multiple of 32, so that nothing is padded")
    if options.repeats < 1 or options.warmup < 0:
        parser.error("expected --repeats of at least 1 and --warmup of at least 0")
    return options


def main() -> bool:
    options = parse()
    names = {
        library: f"{library} {version(library)}"
        for library in ("torch", "torchvision", "segmentation_models_pytorch")
    }
    print(", ".join(names.values()) + f", {torch.get_num_threads()} threads")
    if not cpu_has_bfloat16():
        print("bfloat16 is not timed against the peers: this CPU has no instructions for it")
    models, photos = trained_models(options.weights), trained_photos(options.photos)
    # The astronaut is 512x512 as she is.
    photo = data.astronaut()
    if options.size != 512:
        photo = cv2.resize(photo, (options.size,) * 2, interpolation=cv2.INTER_AREA)
    pairs = [measure(name, photo, options) for name in options.models]
    trained = [measure_trained(model, photos, options) for model in models]
    missed = [str(row["name"]) for row in (*pairs, *trained) if not row["met"]]
    print(f"missed: {', '.join(missed)}" if missed else "all targets were met")
    if options.json is not None:
        content = {
            "versions": names,
            "threads": torch.get_num_threads(),
            "size_px": options.size,
            "repeats": options.repeats,
            "targets": {**TARGETS, "equal": EQUAL},
            "pairs": pairs,
            "trained": trained,
        }
        options.json.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    return not missed


if __name__ == "__main__":
    try:
        sys.exit(0 if main() else 1)
    except VitrailError as error:
        sys.exit(f"error: {error}")
