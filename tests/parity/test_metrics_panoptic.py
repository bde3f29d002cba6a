"""Panoptic quality against torchmetrics (1.9), to 1e-9.

With void in the truth only: void in a prediction, torchmetrics takes out of the true segment's
area, which neither the paper nor panopticapi does.
"""

from importlib.metadata import version

import numpy as np
import pytest
import torch
from torchmetrics.detection import PanopticQuality as Reference

from tests.metrics.drawn_labels import label_maps
from vitrail.metrics import PanopticMap, PanopticQuality

TORCHMETRICS = f"torchmetrics-{version('torchmetrics')}"
THINGS, STUFF, VOID = (0, 1), (2, 3), 4


@pytest.mark.parametrize("reference", [TORCHMETRICS])
def test_every_class(reference: str) -> None:
    labels = label_maps(6, classes=5)
    numbers = label_maps(12, classes=3)
    metric = PanopticQuality(4, things=THINGS)
    theirs = Reference(
        things=set(THINGS),
        stuffs=set(STUFF),
        allow_unknown_preds_category=True,
        return_sq_and_rq=True,
        return_per_class=True,
    )
    for i in range(6):
        truth, predicted = labels[0][i], np.where(labels[1][i] == VOID, 2, labels[1][i])
        pair = (truth, numbers[0][i]), (predicted, numbers[1][i])
        metric.update(*(PanopticMap.from_labels(*one, things=THINGS, void=VOID) for one in pair))
        ours_theirs = [torch.from_numpy(np.stack(one, -1).astype(np.int64))[None] for one in pair]
        theirs.update(ours_theirs[1], ours_theirs[0])
    expected = theirs.compute().numpy()
    ours = np.stack(list(metric.per_class().values()), -1)
    assert (ours[:, 0] > 0.1).any()
    np.testing.assert_allclose(ours, expected, atol=1e-9)
    assert metric.compute()["pq_things"] == pytest.approx(expected[:2, 0].mean(), abs=1e-9)
