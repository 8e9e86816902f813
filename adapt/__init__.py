"""Checkpoint in: raw images and sounds into a text LM, with the controls that make its scores mean something."""

from typing import TYPE_CHECKING

from presight.exports import lazy

if TYPE_CHECKING:
    from adapt.classify import Classify as Classify
    from adapt.classify import Search as Search
    from adapt.controls import Permuted as Permuted
    from adapt.controls import StatsMatched as StatsMatched
    from adapt.datasets import Images as Images
    from adapt.datasets import Sounds as Sounds
    from adapt.importers import Import as Import
    from adapt.invented import Invented as Invented
    from adapt.raw import RawInputClassifier as RawInputClassifier
    from adapt.task import Task as Task

__getattr__, __all__ = lazy(
    "adapt",
    {
        "Classify": "classify",
        "Images": "datasets",
        "Import": "importers",
        "Invented": "invented",
        "Permuted": "controls",
        "RawInputClassifier": "raw",
        "Search": "classify",
        "Sounds": "datasets",
        "StatsMatched": "controls",
        "Task": "task",
    },
)
