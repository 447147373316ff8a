"""The tasks, and what a column is for."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Role", "Task"]


class Role(StrEnum):
    """What a column of a table is used for."""

    INPUT = "input"
    TARGET = "target"
    SPLIT = "split"
    GROUP = "group"
    WEIGHT = "weight"
    IGNORED = "ignored"


class Task(StrEnum):
    """What is to be predicted from a row."""

    CLASSIFICATION = "classification"
    MULTILABEL = "multilabel"
    REGRESSION = "regression"
    GENERATION = "generation"
    RETRIEVAL = "retrieval"
    TAGGING = "tagging"
    RECONSTRUCTION = "reconstruction"
