"""Losses beside those of the targets, one file each."""

from polysense.nn.objectives.base import Blueprint, Objective, ObjectiveConfig, TrainingState

__all__ = ["Blueprint", "Objective", "ObjectiveConfig", "TrainingState"]
