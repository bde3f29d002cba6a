"""What a safetensors file says of itself, read without loading torch."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from pydantic import ValidationError

from vitrail.errors import WeightsError
from vitrail.weights.card import Card

CARD_KEY = "vitrail.card"
_MAX_HEADER = 100_000_000
"""Bytes; the format's own limit."""
PICKLES = (b"\x80", b"PK\x03\x04")
"""How ``torch.save`` files begin (a pickle, and a zip of one)."""


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file, after checking that the file is whole.

    Raises
    ------
    WeightsError
        the file is missing, is something else (a pickle is named as such), or is cut short.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            text = file.read(length) if 2 <= length <= min(size - 8, _MAX_HEADER) else b""
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such checkpoint") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    if not size:
        raise WeightsError(f"{path}: the file is empty; expected a .safetensors checkpoint")
    try:
        header = json.loads(text)
        metadata = {str(k): str(v) for k, v in header.pop("__metadata__", {}).items()}
        end = max((int(entry["data_offsets"][1]) for entry in header.values()), default=0)
    except (ValueError, AttributeError, KeyError, TypeError, IndexError, RecursionError):
        # The length that safetensors begin with may have a pickle's first byte, but not the rest.
        if start.startswith(PICKLES) and not 2 <= length <= _MAX_HEADER:
            raise WeightsError(
                f"{path}: this is a pickled PyTorch checkpoint, which can run code when opened and "
                "is refused; expected a .safetensors file"
            ) from None
        raise WeightsError(f"{path}: not a safetensors file") from None
    if size != 8 + length + end:
        raise WeightsError(
            f"{path}: damaged or cut short: {size} bytes where its header calls for "
            f"{8 + length + end}"
        )
    return metadata


def read_card(path: Path) -> Card:
    """The card inside a checkpoint; no tensor is read.

    Raises
    ------
    WeightsError
        the file cannot be read, or holds no valid card.
    """
    metadata = read_metadata(path)
    if CARD_KEY not in metadata:
        raise WeightsError(
            f"{path}: holds tensors but no vitrail card, so nothing says which network they fit"
        )
    try:
        return Card.model_validate_json(metadata[CARD_KEY])
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise WeightsError(f"{path}: its card is not valid: {where}: {fault['msg']}") from None
