"""Losses beside those of the targets, one file each."""

from polysense.nn.objectives.base import Beginning, Blueprint, Objective, ObjectiveConfig, TrainingState

__all__ = ["Beginning", "Blueprint", "Objective", "ObjectiveConfig", "TrainingState"]
