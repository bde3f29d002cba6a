"""Region scores against scikit-image (0.26) and scikit-learn (1.9), to 1e-12."""

from importlib.metadata import version

import numpy as np
import pytest
from skimage.metrics import adapted_rand_error as skimage_are
from skimage.metrics import variation_of_information as skimage_vi
from sklearn.metrics import rand_score
from sklearn.metrics.cluster import contingency_matrix

from tests.metrics.drawn_labels import label_maps
from vitrail.metrics.contingency import contingency
from vitrail.metrics.regions import adapted_rand_error, rand_index, variation_of_information

SKIMAGE = f"scikit-image-{version('scikit-image')}"
SKLEARN = f"scikit-learn-{version('scikit-learn')}"
PAIRS = list(zip(*label_maps(3, classes=6), strict=True))


@pytest.mark.parametrize("reference", [SKIMAGE])
@pytest.mark.parametrize("pair", PAIRS)
def test_information_and_adapted_rand(pair: tuple, reference: str) -> None:
    table = contingency(*pair)
    merges_splits = variation_of_information(table)
    # scikit-image gives H(predicted | truth), then H(truth | predicted).
    np.testing.assert_allclose(merges_splits, skimage_vi(*pair)[::-1], rtol=1e-12)
    assert adapted_rand_error(table) == pytest.approx(
        skimage_are(*pair, ignore_labels=())[0], rel=1e-12
    )
    void = contingency(*pair, ignore=2)
    theirs = skimage_are(*pair, ignore_labels=(2,))[0]
    assert adapted_rand_error(void) == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("reference", [SKLEARN])
@pytest.mark.parametrize("pair", PAIRS)
def test_rand_index_and_table(pair: tuple, reference: str) -> None:
    table = contingency(*pair)
    truth, predicted = (one.ravel() for one in pair)
    assert rand_index(table) == pytest.approx(rand_score(truth, predicted), rel=1e-12)
    dense = np.zeros((len(table.truth_ids), len(table.predicted_ids)), int)
    dense[table.rows, table.columns] = table.pixels
    np.testing.assert_array_equal(dense, contingency_matrix(truth, predicted))
