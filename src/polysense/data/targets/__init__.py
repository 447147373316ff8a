"""Targets: from a row's cells to class ids, sets of labels, numbers or tokens, and back to what the table would hold.

One file per task; importing this package registers them.
"""

from polysense.data.targets.base import TargetConfig, TargetProcessor
from polysense.data.targets.chat import ChatTarget, ChatTargetConfig
from polysense.data.targets.classification import ClassificationTarget, ClassificationTargetConfig
from polysense.data.targets.contrastive import ContrastiveTarget, ContrastiveTargetConfig
from polysense.data.targets.generation import GenerationTarget, GenerationTargetConfig
from polysense.data.targets.multilabel import MultilabelTarget, MultilabelTargetConfig
from polysense.data.targets.reconstruction import ReconstructionTarget, ReconstructionTargetConfig
from polysense.data.targets.regression import RegressionTarget, RegressionTargetConfig
from polysense.data.targets.tagging import TaggingTarget, TaggingTargetConfig

__all__ = [
    "ChatTarget",
    "ChatTargetConfig",
    "ClassificationTarget",
    "ClassificationTargetConfig",
    "ContrastiveTarget",
    "ContrastiveTargetConfig",
    "GenerationTarget",
    "GenerationTargetConfig",
    "MultilabelTarget",
    "MultilabelTargetConfig",
    "ReconstructionTarget",
    "ReconstructionTargetConfig",
    "RegressionTarget",
    "RegressionTargetConfig",
    "TaggingTarget",
    "TaggingTargetConfig",
    "TargetConfig",
    "TargetProcessor",
]
