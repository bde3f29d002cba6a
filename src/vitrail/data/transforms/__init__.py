"""From samples to training crops: every random draw is made once for an image and its labels.

``framing`` and ``geometry`` draw which pixels make a crop, ``reading`` decodes no more than those
need, ``labels`` and ``instances`` hold what a crop shows, ``photometric`` changes its colours, and
``training`` puts them together. ``vitrail.data.augment`` builds all of it from a recipe.
"""

from vitrail.data.transforms.instances import (
    InstanceExample,
    collate_instances,
    crop_of,
    resized_example,
)
from vitrail.data.transforms.labels import Example, unlabelled_flags
from vitrail.data.transforms.training import Augmentation, TrainingSet

__all__ = [
    "Augmentation",
    "Example",
    "InstanceExample",
    "TrainingSet",
    "collate_instances",
    "crop_of",
    "resized_example",
    "unlabelled_flags",
]
