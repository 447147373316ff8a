"""Classification without training: the class whose name, written into a sentence, lies nearest in the joint
embedding space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars

from polysense.bundle import Bundle, as_bundle
from polysense.core.files import named_path
from polysense.core.registry import modality
from polysense.core.sample import Unreadable
from polysense.data.tables.frame_file import frame_file, write_frame
from polysense.errors import ConfigError
from polysense.escaping import joined
from polysense.evaluation.bootstrap import Interval, mean_over_rows
from polysense.workflows.representation.embed import embeddings, shared_space

__all__ = ["ZeroShot", "zero_shot"]


@dataclass(frozen=True, eq=False, kw_only=True)
class ZeroShot:
    """Which class each row is nearest to.

    Attributes:
        frame: Per row `class` (null where the row lacks the column) and `similarity`, the cosine to its prompts.
        similarities: float32 [rows, classes], NaN where the row lacks the column.
        classes: In the order of `similarities`.
        accuracy: Over the rows that have the column and a label among the classes; None without labels.
        chance: The accuracy of always naming the most frequent of these labels.
        num_counted: Those rows.
        unreadable: Cells of the table that could not be read and count as missing.
    """

    frame: polars.DataFrame
    similarities: np.ndarray
    classes: tuple[str, ...]
    accuracy: Interval | None = None
    chance: float | None = None
    num_counted: int = 0
    unreadable: tuple[Unreadable, ...] = ()

    def write(self, path: Path | str, *, csv_safe: bool = True) -> None:
        """Writes each row's class as .csv or .parquet; `csv_safe` as for `Predictions.write`.

        Raises:
            TableError: The ending is none of these, or the file can't be written.
        """
        path = named_path(path)
        with frame_file(path, (".csv", ".parquet")) as part:
            write_frame(self.frame, part, path.suffix, csv_safe=csv_safe)

    def as_json(self) -> dict[str, Any]:
        """For a script."""
        accuracy = None if self.accuracy is None else self.accuracy.as_json()
        return {
            "num_rows": len(self.frame),
            "classes": list(self.classes),
            "accuracy": accuracy,
            "majority": self.chance,
            "num_counted": self.num_counted,
            "unreadable": [cell.as_dict() for cell in self.unreadable],
        }

    def text(self) -> str:
        """For people."""
        lines = [f"{len(self.frame):,} rows, {len(self.classes)} classes"]
        if num_missing := self.frame.get_column("class").null_count():
            lines.append(f"  {num_missing:,} of them have nothing to classify, and no class")
        if self.accuracy is not None:
            bounds = f" ({self.accuracy.low:.3f} to {self.accuracy.high:.3f})" if self.accuracy.has_bounds else ""
            lines.append(
                f"accuracy {self.accuracy.value:.3f}{bounds} on {self.num_counted:,} rows; always the most frequent "
                f"class {self.chance:.3f}"
            )
        return joined(lines)


def zero_shot(
    bundle: Bundle | str | Path,
    source: Any,
    *,
    column: str,
    classes: Sequence[str] | None = None,
    templates: str | Sequence[str] = "{}",
    text_column: str | None = None,
    label: str | None = None,
    root: str | Path | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> ZeroShot:
    """Names the class of each row by prompts (Radford et al., 2021, section 3.1).

    Args:
        bundle: A bundle with a joint embedding space, or its folder.
        source: A table's path, a data frame, a list of dictionaries, ...
        column: The column to be classified.
        classes: Their names; by default all that stand in the column of true classes.
        templates: Sentences with {} where the name goes; of several the mean of their embeddings counts.
        text_column: The text column whose encoder reads the prompts; needed where several texts share the space.
        label: The column of true classes, for the accuracy.
        root: The folder that media paths are relative to; by default the table's own.
        bootstrap: Resamples for the accuracy's interval.
        seed: Of the resamples.
        progress: Called after each batch with the rows that are done and the rows there are.

    Raises:
        ConfigError: The bundle has no joint embedding space with these columns, a template has no {}, there are no two
            classes, or no row's label is one of them.
        UserError: The bundle or the table can't be read.
    """
    loaded = as_bundle(bundle)
    reader = _reader(loaded, column, text_column)
    sentences = [templates] if isinstance(templates, str) else list(templates)
    source_column = loaded.processor.columns[column].source
    table = loaded.read(source, root=root, also=[] if label is None else [label])
    table.require(source_column, "column")
    labels: list[str | None] = [None] * len(table)
    if label is not None:
        table.require(label, "label column")
        labels = [None if cell is None else str(cell) for cell in table.cells(label, literal=True)]
    if classes is None:
        if label is None:
            raise ConfigError("no classes are named; name them, or the column of true classes (label) that holds them")
        classes = sorted({name for name in labels if name is not None})
    if len(set(classes)) < 2 or len(set(classes)) < len(classes):
        raise ConfigError(f"expected two or more different classes, found {list(classes)}")
    if wrong := [sentence for sentence in sentences if "{}" not in sentence]:
        raise ConfigError(f"the template {wrong[0]!r} has no {{}} where the class's name goes")
    ids = {name: i for i, name in enumerate(classes)}
    truth = np.array([-1 if name is None else ids.get(name, -1) for name in labels], dtype=np.int64)
    if label is not None and not (truth >= 0).any():
        raise ConfigError(
            f"{table.name}, column {label!r}: no row has a label that is one of the classes {', '.join(classes)}; it "
            f"holds {', '.join(sorted({name for name in labels if name is not None})[:10]) or 'nothing'}"
        )
    # The other columns stand there empty: that prompts have none is no news.
    empty = dict.fromkeys((part.source for part in loaded.processor.columns.values()), None)
    spoken = loaded.processor.columns[reader].source
    prompts = [empty | {spoken: sentence.replace("{}", name)} for name in classes for sentence in sentences]
    named = embeddings(loaded, prompts, only=reader).vectors[reader].reshape(len(classes), len(sentences), -1)
    middles = named.mean(axis=1)
    middles /= np.linalg.norm(middles, axis=1, keepdims=True)
    placed = embeddings(loaded, table, only=column, progress=progress)
    similarities = placed.vectors[column] @ middles.T
    there = np.isfinite(similarities).all(axis=1)
    best = np.where(there[:, None], similarities, -np.inf).argmax(axis=1)
    frame = polars.DataFrame(
        {
            "class": [classes[i] if known else None for i, known in zip(best, there, strict=True)],
            "similarity": [
                float(row[i]) if known else None for row, i, known in zip(similarities, best, there, strict=True)
            ],
        },
        schema={"class": polars.String, "similarity": polars.Float32},
    )
    result = ZeroShot(frame=frame, similarities=similarities, classes=tuple(classes), unreadable=placed.unreadable)
    if label is None:
        return result
    counted = np.flatnonzero(there & (truth >= 0))
    if not len(counted):
        raise ConfigError(f"{table.name}: no row has both the column {column!r} and a label that is one of the classes")
    right = (best == truth)[counted].astype(np.float64)
    return ZeroShot(
        frame=frame.with_columns(polars.Series("label", [None if t < 0 else classes[t] for t in truth])),
        similarities=similarities,
        classes=tuple(classes),
        accuracy=mean_over_rows(right, bootstrap, seed),
        chance=float(np.bincount(truth[counted]).max() / len(counted)),
        num_counted=len(counted),
        unreadable=placed.unreadable,
    )


def _reader(bundle: Bundle, column: str, text_column: str | None) -> str:
    """The text column that reads the prompts."""
    space = shared_space(bundle)
    if space is None:
        raise ConfigError(
            "the model has no joint embedding space; train one with: polysense train TABLE --task retrieval"
        )
    if column not in space.members:
        raise ConfigError(
            f"column {column!r} is not in the joint embedding space; there are: {', '.join(space.members)}"
        )
    texts = [
        name for name in space.members if modality(bundle.schema.column(name).modality).is_prose and name != column
    ]
    if text_column is not None:
        if text_column not in texts:
            raise ConfigError(
                f"{text_column!r} is no text in the joint embedding space; there are: {', '.join(texts) or 'none'}"
            )
        return text_column
    if len(texts) != 1:
        raise ConfigError(
            f"prompts need a text column in the joint embedding space; there are: {', '.join(texts) or 'none'}"
            f"{'; name one' if texts else ''}"
        )
    return texts[0]
