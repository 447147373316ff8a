"""Preprocessing of input columns, one file per modality. Importing this package registers its members."""

from polysense.data.columns import audio, category, date, image, number, text
from polysense.data.columns.base import ColumnConfig, ColumnProcessor

__all__ = ["ColumnConfig", "ColumnProcessor", "audio", "category", "date", "image", "number", "text"]
