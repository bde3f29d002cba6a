"""Classical methods: pure functions on arrays, and their parameters as callable models.

``METHODS`` maps the name that ``vitrail.load`` takes to the class that holds its parameters.
"""

from __future__ import annotations

from vitrail.classical.cluster import GaussianMixture, KMeans, MeanShift
from vitrail.classical.edges import Edges
from vitrail.classical.method import Method
from vitrail.classical.region import SLIC, Felzenszwalb, Watershed
from vitrail.classical.seeded import GrabCut, RandomWalker, RegionGrowing
from vitrail.classical.threshold import Threshold

METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        Threshold,
        Edges,
        KMeans,
        MeanShift,
        GaussianMixture,
        Watershed,
        SLIC,
        Felzenszwalb,
        GrabCut,
        RegionGrowing,
        RandomWalker,
    )
}

__all__ = ["METHODS", "Method"]
