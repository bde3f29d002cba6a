"""What every method answers with: four kinds of result, their masks, pictures and files."""

from __future__ import annotations

from vitrail.result.base import Result, Segment
from vitrail.result.edges import EdgeResult
from vitrail.result.instances import InstanceResult
from vitrail.result.masks import Masks, Polygons
from vitrail.result.regions import RegionResult
from vitrail.result.semantic import SemanticResult

__all__ = [
    "EdgeResult",
    "InstanceResult",
    "Masks",
    "Polygons",
    "RegionResult",
    "Result",
    "Segment",
    "SemanticResult",
]
