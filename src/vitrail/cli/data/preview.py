"""``vitrail data preview``: samples with their labels on one sheet, as they are or augmented."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitrail.cli.data import common

if TYPE_CHECKING:
    import numpy as np

    from vitrail.data.augment import AugmentConfig

_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
"""Kinds of pictures that a sheet is written as."""


def preview(
    path: common.Path_,
    format: common.Format_ = None,
    settings: common.Settings = None,
    splits: common.Splits_ = None,
    n: Annotated[int, typer.Option("--n", "-n", min=1, max=400, help="How many samples.")] = 16,
    seed: Annotated[int, typer.Option(help="Another seed picks and draws others.")] = 0,
    augment: Annotated[
        bool, typer.Option("--augment", help="Show training crops, each beside its labels.")
    ] = False,
    recipe: Annotated[
        Path | None,
        typer.Option(help="Augment as this recipe says; by default as a recipe that says nothing."),
    ] = None,
    augment_settings: Annotated[
        list[str] | None,
        typer.Option(
            "--augment-set",
            metavar="KEY=VALUE",
            help="A setting of the augmentation, such as mosaic=0.5; repeatable.",
        ),
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=16, max=4096, help="Side of the crops, px [the recipe's, 320]")
    ] = None,
    draws: Annotated[int, typer.Option(min=1, max=32, help="Crops of each sample.")] = 3,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The picture to write; its suffix says the kind.")
    ] = Path("preview.png"),
    as_json: common.Json = False,
) -> None:
    """Draw some samples with their labels on one sheet; with --augment, as training sees them."""
    from vitrail.atomic import make_folder
    from vitrail.data.preview import augmented, choose, overlay, pair
    from vitrail.data.split import Joined
    from vitrail.errors import DataError, ImageError, ParameterError, SourceError
    from vitrail.result.legend import contact_sheet
    from vitrail.result.write import write_picture

    if out.suffix.lower() not in _ENDINGS:
        raise ParameterError(f"--out {out}: expected a name that ends in {', '.join(_ENDINGS)}")
    augment = augment or recipe is not None or bool(augment_settings)
    config, side = _augmentation(recipe, augment_settings, size) if augment else (None, 0)
    dataset, parts = common.open_parts(path, format, settings, splits, strict=False)
    whole = Joined(parts)
    chosen = choose(len(whole), n, seed)
    pictures: list[tuple[str, np.ndarray]] = []
    drawn: list[str] = []
    failed: dict[str, str] = {}
    with common.progress(not as_json) as tell:
        for number, index in enumerate(chosen, 1):
            try:
                if config is None:
                    row = [overlay(whole[index], whole.space)]
                else:
                    row = [pair(whole[index], whole.space)]
                    row += augmented(whole, index, config, side, draws, seed)
                pictures += [(whole.ids[index], picture) for picture in row]
                drawn.append(whole.ids[index])
            except (DataError, ImageError, SourceError) as error:  # of this sample alone
                failed[whole.ids[index]] = str(error)
                print(f"error: {error}", file=sys.stderr)
            tell("drawing", number, len(chosen))
    if not pictures:
        raise DataError(f"{path}: no sample could be drawn")
    make_folder(out.parent)
    sheet = contact_sheet(pictures, columns=None if config is None else 1 + draws)
    written = write_picture(out, sheet)
    if as_json:
        content = {
            "format": dataset.format,
            "samples": drawn,
            "failed": failed,
            "files": [str(written)],
        }
        print(json.dumps(content, indent=2))
    else:
        print(written)
    if failed:
        raise typer.Exit(1)


def _augmentation(
    recipe: Path | None, settings: list[str] | None, size: int | None
) -> tuple[AugmentConfig, int]:
    """What a recipe says, changed by settings; and the side of the crops."""
    from pydantic import ValidationError

    from vitrail.data.augment import AugmentConfig
    from vitrail.errors import ParameterError, nearest

    config, side = AugmentConfig.model_validate({}), 320
    if recipe is not None:
        from vitrail.training.config import read_recipe

        read = read_recipe(recipe)
        config, side = read.augment, read.train.image_size
    changes = common.parse_pairs(settings, "--augment-set")
    for key in changes:
        if key not in AugmentConfig.model_fields:
            near = nearest(key, AugmentConfig.model_fields)
            raise ParameterError(f"--augment-set: no setting is called {key!r}; {near}")
    try:
        config = AugmentConfig.model_validate(config.model_dump() | changes)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        key = fault["loc"][0] if fault["loc"] else ""
        value = f" {key}={fault['input']!r}" if key else ""
        message = fault["msg"].removeprefix("Value error, ")
        raise ParameterError(f"--augment-set{value}: {message}") from None
    return config, size or side
