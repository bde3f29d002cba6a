"""Metrics with one shape: ``update`` with an image, ``compute`` the numbers, ``merge`` parts.

All take NumPy arrays, stream, and merge exactly; see ``docs/metrics.md`` for what each one is, the
protocol it follows, and its empty policy.
"""

from vitrail.metrics.base import Empty, Metric
from vitrail.metrics.boundaries import BoundaryDetection, region_boundaries
from vitrail.metrics.coco_ap import CocoAP
from vitrail.metrics.coco_match import CocoObjects
from vitrail.metrics.confusion import ConfusionMatrix
from vitrail.metrics.contour import BoundaryF, BoundaryIoU
from vitrail.metrics.object_sweep import ObjectSweep
from vitrail.metrics.objects import ObjectScores
from vitrail.metrics.panoptic import PanopticMap, PanopticQuality
from vitrail.metrics.per_image import Aggregation, PerImage
from vitrail.metrics.regions import RegionScores
from vitrail.metrics.surface import SurfaceDistance

__all__ = [
    "Aggregation",
    "BoundaryDetection",
    "BoundaryF",
    "BoundaryIoU",
    "CocoAP",
    "CocoObjects",
    "ConfusionMatrix",
    "Empty",
    "Metric",
    "ObjectScores",
    "ObjectSweep",
    "PanopticMap",
    "PanopticQuality",
    "PerImage",
    "RegionScores",
    "SurfaceDistance",
    "region_boundaries",
]
