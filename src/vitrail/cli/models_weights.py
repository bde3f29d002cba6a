"""``vitrail models fetch`` and ``vitrail models import``: weights that others have made."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def fetch(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Published models, from the list.")
    ],
) -> None:
    """Download the weights of published models ahead of their first use.

    They go to the cache folder (`vitrail doctor` names it; VITRAIL_CACHE sets it). What has come
    of an interrupted download is kept, and the rest fetched the next time.
    """
    from vitrail.cli.progress import download_progress
    from vitrail.errors import UnknownNameError
    from vitrail.predict.segmenter import known_names
    from vitrail.weights.catalog import find
    from vitrail.weights.store import obtain

    entries = [find(name) for name in names]
    for name, entry in zip(names, entries, strict=True):
        if entry is None:
            raise UnknownNameError("model", name, known_names())
    try:
        for name, entry in zip(names, entries, strict=True):
            assert entry is not None
            if entry.packaged is not None:
                print(f"{name}: ships with vitrail, nothing to fetch")
                continue
            with download_progress() as tell:
                path = obtain(entry.card, progress=tell)
            print(f"{entry.card.name}: {path}; weights: {entry.card.licences.weights}")
    except KeyboardInterrupt as stop:
        stop.args = (
            "interrupted; what has come is kept: run the same command again to go on from there",
        )
        raise


def import_(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A .pth or .safetensors file with a network's state, or a folder of "
            "save_pretrained.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The .safetensors file to write.")],
    architecture: Annotated[
        str,
        typer.Option(
            help="As segmentation_models.pytorch (Unet, FPN, PSPNet, DeepLabV3, DeepLabV3Plus) or "
            "torchvision (fcn_resnet50, deeplabv3_resnet101, lraspp_mobilenet_v3_large, ...) "
            "calls it; a folder of save_pretrained says it itself."
        ),
    ] = "",
    encoder: Annotated[
        str,
        typer.Option(help="As smp calls it: resnet34, mobilenet_v2, tu-NAME of any timm network."),
    ] = "",
    classes: Annotated[
        str,
        typer.Option(
            help="Names in the order of the training, with commas; or how many, if unknown."
        ),
    ] = "",
    image_size: Annotated[
        int, typer.Option(min=16, help="Side (px) that the network was trained for.")
    ] = 512,
    resize: Annotated[
        str, typer.Option(help="Which side becomes that: long-side, short-side, or stretch (both).")
    ] = "long-side",
    mean: Annotated[
        str, typer.Option(help="Per band, of values in 0..1; default for RGB: ImageNet's.")
    ] = "",
    std: Annotated[str, typer.Option(help="Likewise.")] = "",
) -> None:
    """Make a checkpoint of segmentation_models.pytorch or torchvision one of vitrail's.

    Only tensors are read: a pickle that asks for more is refused, and no code in it runs.
    """
    from vitrail.errors import ParameterError
    from vitrail.weights.importers.adopt import ClassNames, import_checkpoint

    if out.suffix != ".safetensors":
        raise ParameterError(f"--out {out}: expected a name that ends in .safetensors")
    if bool(mean) != bool(std):
        raise ParameterError("--mean and --std: give both, or neither")
    card = import_checkpoint(
        file,
        out,
        ClassNames.parse(classes),
        architecture=architecture,
        encoder=encoder,
        image_size=image_size,
        resize=resize,
        mean=_numbers("--mean", mean),
        std=_numbers("--std", std),
    )
    used = card.preprocessing
    print(f"{file} -> {out}: {card.architecture}, classes {', '.join(card.classes)}")
    print(
        f"fed with {used.resize} {used.image_size} px, mean {_text(used.mean)}, std "
        f"{_text(used.std)}"
        + ("" if mean else " (assumed; --mean and --std if it was trained with others)"),
        file=sys.stderr,
    )


def _numbers(option: str, text: str) -> tuple[float, ...] | None:
    """Numbers with commas between; None of nothing."""
    from vitrail.errors import ParameterError

    try:
        return tuple(float(part) for part in text.split(",")) if text else None
    except ValueError:
        raise ParameterError(f"{option} {text}: expected numbers with commas between") from None


def _text(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
