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
    from adapt.vlm.conversations import Conversation as Conversation
    from adapt.vlm.efficientnet import EfficientNetLite as EfficientNetLite
    from adapt.vlm.encode import Encode as Encode
    from adapt.vlm.export import Export as Export
    from adapt.vlm.features import Features as Features
    from adapt.vlm.importer import Conversations as Conversations
    from adapt.vlm.model import VisionLanguageModel as VisionLanguageModel
    from adapt.vlm.pictures import Pictures as Pictures
    from adapt.vlm.tagging import Tag as Tag
    from adapt.vlm.tune import Align as Align
    from adapt.vlm.tune import Instruct as Instruct

__getattr__, __all__ = lazy(
    "adapt",
    {
        "Align": "vlm.tune",
        "Classify": "classify",
        "Conversation": "vlm.conversations",
        "Conversations": "vlm.importer",
        "Encode": "vlm.encode",
        "Export": "vlm.export",
        "EfficientNetLite": "vlm.efficientnet",
        "Features": "vlm.features",
        "Images": "datasets",
        "Import": "importers",
        "Instruct": "vlm.tune",
        "Invented": "invented",
        "Permuted": "controls",
        "Pictures": "vlm.pictures",
        "RawInputClassifier": "raw",
        "Search": "classify",
        "Sounds": "datasets",
        "StatsMatched": "controls",
        "Tag": "vlm.tagging",
        "Task": "task",
        "VisionLanguageModel": "vlm.model",
    },
)
