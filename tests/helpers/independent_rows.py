"""A table with mixed columns, and comparisons of a model's predictions of it to the last bit."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from every_kind import ROWS, features_of, write_rows

from polysense.bundle import Bundle
from polysense.core.registry import modalities
from polysense.data.config import DataConfig
from polysense.data.processor import Processor
from polysense.data.tables.sources import read_table
from polysense.nn.encoder import EncoderConfig
from polysense.nn.head import HeadConfig
from polysense.nn.model_config import ModelConfig

__all__ = ["Cells", "bits", "mixed_rows", "random_bundle", "without_column"]

Cells = list[dict[str, Any]]


def mixed_rows(folder: Path, number: int) -> Cells:
    """Rows with a column of every modality, lists of images and texts, texts of up to 50 times the usual length, gaps.

    Columns are named as in `write_rows`, the lists "images" and "texts"; each cell is missing in a fifth of the rows.
    """
    source, draw = write_rows(folder)[:ROWS], random.Random(0)
    rows: Cells = []
    for index in range(number):
        given = source[index % ROWS]
        row: dict[str, Any] = {name: cell for name, cell in given.items() if name not in modalities()}
        for position, name in enumerate(modalities()):
            cell = draw.choice([each[name] for each in source if each[name]])
            if name == "text":
                cell = " ".join([cell] * draw.choice([1, 1, 1, 2, 3, 3, 50 if index % 9 == 4 else 1]))
            row[name] = None if (index + position) % 5 == 3 else cell
        images = [f"{draw.randrange(ROWS)}.png" for _ in range(index % 4)]
        row["images"] = images or None
        texts = [" ".join([draw.choice(source)["text"] or "and"] * draw.choice([1, 1, 2, 7])) for _ in range(index % 5)]
        row["texts"] = texts or None
        rows.append(row)
    rows[number // 2] |= dict.fromkeys([*modalities(), "images", "texts"])
    return rows


def random_bundle(
    rows: Cells,
    folder: Path,
    columns: Mapping[str, Any],
    targets: Mapping[str, Any],
    encoders: Mapping[str, EncoderConfig],
    heads: Mapping[str, HeadConfig],
    **settings: Any,
) -> Bundle:
    """A model with random weights, none of which is 0, and its fitted preprocessing."""
    table = read_table(rows, root=folder)
    config = ModelConfig(width=16, encoders=encoders, heads=heads, **settings)
    kinds = {name: column.modality for name, column in columns.items()}
    features = {name: features_of(kinds[name]) for name, encoder in encoders.items() if encoder.reads_features}
    data = DataConfig(columns=dict(columns), targets=dict(targets), features=features)
    processor = Processor.fit(table, data, config.requirements(kinds), config.target_requirements())
    torch.manual_seed(0)
    model = config.build(processor.schema).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return Bundle(processor, model, config)


def bits(bundle: Bundle, source: Any, folder: Path, **options: Any) -> list[str]:
    """Each row's predictions with all their digits, without its number and which columns it lacked."""
    frame = bundle.predict(source, root=folder, **options).frame
    # Files that are made are named after the row's number.
    return [re.sub(r"'path': '\w+\.png'", "", repr(row)) for row in frame.drop("row", "missing").rows()]


def without_column(rows: Cells, name: str) -> Cells:
    """The rows of a table that has no such column."""
    return [{key: cell for key, cell in row.items() if key != name} for row in rows]
