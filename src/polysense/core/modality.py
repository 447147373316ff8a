"""The senses, the tasks, and what a column is for."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Modality", "Role", "Task"]


class Modality(StrEnum):
    """What the cells of a column are."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    NUMBER = "number"
    CATEGORY = "category"
    DATE = "date"
    SERIES = "series"


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
