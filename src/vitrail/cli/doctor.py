"""``vitrail doctor``: what this machine has, and whether the default model is right on it."""

from __future__ import annotations

import json
import platform
from importlib import metadata
from typing import Annotated, Any

import typer

_PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "opencv-python-headless",
    "scikit-image",
    "pillow",
    "safetensors",
)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")] = False,
) -> None:
    """Check versions, devices, threads, cache, and that the default model predicts correctly."""
    facts = gather()
    check = check_default_model()
    if as_json:
        print(json.dumps({**facts, "default model": check}, indent=2))
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table(show_header=False)
        for name, value in facts.items():
            table.add_row(name, str(value))
        table.add_row("default model", f"{'ok' if check['ok'] else 'WRONG'}: {check['detail']}")
        Console().print(table)
    if not check["ok"]:
        raise typer.Exit(1)


def gather() -> dict[str, Any]:
    """Versions, devices and threads."""
    import cv2
    import torch

    from vitrail import __version__
    from vitrail.predict.device import cpu_has_bfloat16, pick_device, pick_precision
    from vitrail.weights.store import cache_folder, is_offline

    device = pick_device("auto")
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "vitrail": __version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        **{name: _version(name) for name in _PACKAGES},
        "device": f"{device}" + (f" ({', '.join(gpus)})" if gpus else ""),
        "precision": pick_precision("auto", device),
        "bfloat16 on this CPU": "in hardware" if cpu_has_bfloat16() else "no",
        "threads": f"torch {torch.get_num_threads()}, OpenCV {cv2.getNumThreads()}",
        "cache": str(cache_folder()) + (" (downloads forbidden)" if is_offline() else ""),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def check_default_model() -> dict[str, Any]:
    """Predict a photograph whose answer is known, as fast and as exactly as this machine can.

    The astronaut portrait (public domain, NASA) that scikit-image installs: the default model must
    call her face a person, and the automatic precision must agree with float32.
    """
    import time

    from skimage import data

    from vitrail.errors import VitrailError
    from vitrail.predict.segmenter import load
    from vitrail.result import SemanticResult
    from vitrail.weights.catalog import DEFAULT_MODEL

    photo = data.astronaut()
    try:
        exact = load(DEFAULT_MODEL, precision="float32")(photo)
        segmenter = load(DEFAULT_MODEL)
        fast = segmenter(photo)
        start = time.perf_counter()
        segmenter(photo)
        milliseconds = (time.perf_counter() - start) * 1e3
    except VitrailError as error:
        return {"ok": False, "detail": str(error)}
    assert isinstance(exact, SemanticResult) and isinstance(fast, SemanticResult)
    person = exact.classes.index("person")
    face = exact.labels[40:150, 200:290]
    found = float((face == person).mean())
    agreement = float((exact.labels == fast.labels).mean())
    return {
        "ok": found > 0.95 and agreement > 0.99,
        "detail": f"{found:.1%} of the astronaut's face found, {agreement:.2%} of pixels equal in "
        f"{segmenter.engine.precision} and float32, {milliseconds:.0f} ms a 512×512 photo",  # pyright: ignore
        "person_found": found,
        "precision_agreement": agreement,
        "milliseconds": milliseconds,
    }
