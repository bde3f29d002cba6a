"""Exports of Label Studio, as small as can be."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.data.formats.annotation_tools import (
    write_picture,
)
from vitrail.data.formats.labelstudio import LabelStudioOptions, open_labelstudio
from vitrail.data.sample import Sample

TRIANGLE = [[10, 30], [50, 30], [50, 80]]


def result(value: Any, kind="polygonlabels", label: str | None = "cat", **more) -> dict:
    """A result on an image of 20 x 10 px."""
    labels = {} if label is None else {kind: [label]}
    return {
        "id": "r1",
        "type": kind,
        "from_name": "label",
        "to_name": "image",
        "original_width": 20,
        "original_height": 10,
        "image_rotation": 0,
        "value": {**value, **labels},
        **more,
    }


def polygon(label: str | None = "cat", **more) -> dict:
    return result({"points": TRIANGLE, "closed": True}, label=label, **more)


def annotation(results: Sequence[Any], **more) -> dict:
    return {"id": 1, "completed_by": 1, "was_cancelled": False, "result": results, **more}


def task(results: Sequence[Any], image: Any = "/data/upload/1/a.png", **more) -> dict:
    return {"id": 7, "data": {"image": image}, "annotations": [annotation(results)], **more}


def export(root: Path, tasks: Any, image: str | None = "images/a.png") -> Path:
    """An export with an image of 20 x 10 px."""
    root.mkdir(exist_ok=True)
    if image is not None:
        write_picture(root / image, (10, 20))
    (root / "export.json").write_text(tasks if isinstance(tasks, str) else json.dumps(tasks))
    return root


def only(root: Path, **options) -> Sample:
    dataset = open_labelstudio(root, LabelStudioOptions(**options))
    assert dataset.problems == [] and len(dataset["all"]) == 1
    return dataset["all"][0]
