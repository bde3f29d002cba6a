"""Metrics with one shape: ``update`` with a batch, ``compute`` the numbers, ``reset``."""

from vitrail.metrics.confusion import ConfusionMatrix

__all__ = ["ConfusionMatrix"]
