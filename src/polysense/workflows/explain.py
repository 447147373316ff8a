"""Explanations of single predictions, as a page and a JSON file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polysense.bundle import Bundle, as_bundle
from polysense.core.files import named_path, write_text
from polysense.core.json import JsonValue, json_object, write_json
from polysense.data.batches.dataset import TableDataset
from polysense.escaping import preformatted, visible
from polysense.evaluation.explanation import ExplanationOptions
from polysense.evaluation.explanation_result import RowExplanation
from polysense.reports.explanation import explanation_text, render_explanations

__all__ = ["JSON_FILE", "PAGE", "Explanations", "explain"]

PAGE, JSON_FILE = "explanation.html", "explanation.json"
_VERSION = 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Explanations:
    """Explained rows.

    Attributes:
        table: The table's name.
        rows: In the order in which they were asked for.
        notes: How they were made, a sentence each.
        folder: Where page and JSON file lie; None where none was asked for.
    """

    table: str
    rows: Sequence[RowExplanation]
    notes: Sequence[str]
    folder: Path | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> RowExplanation:
        return self.rows[index]

    def __repr__(self) -> str:
        where = "" if self.folder is None else f", {str(self.folder / PAGE)!r}"
        rows = f"{len(self.rows)} {'row' if len(self.rows) == 1 else 'rows'}"
        return visible(f"Explanations({self.table!r}, {rows}{where})")

    def _repr_html_(self) -> str:
        return preformatted(self.text())

    def as_json(self) -> JsonValue:
        """Every number."""
        return json_object(
            {
                "version": _VERSION,
                "table": self.table,
                "notes": list(self.notes),
                "rows": [row.record() for row in self.rows],
            }
        )

    def text(self) -> str:
        """For a terminal."""
        text = explanation_text(self.rows)
        return text if self.folder is None else f"{text}\nwrote {self.folder / PAGE} and {JSON_FILE}"


def explain(
    bundle: Bundle | str | Path,
    source: Any,
    rows: Sequence[int] | None = None,
    *,
    output: str | Path | None = None,
    choices: Mapping[str, str] | None = None,
    method: str = "shapley",
    parts: int = 36,
    pairs: int = 4,
    donors: int = 8,
    maps: bool = True,
    seed: int = 0,
    root: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Explanations:
    """Explains the predictions of some rows of a table.

    Args:
        bundle: A bundle, or its folder.
        source: A table's path, a data frame, a list of dictionaries, ...
        rows: Positions in the table, from 0; all of a small table by default. The other rows lend their cells to be
            swapped in.
        output: A folder for explanation.html and explanation.json; None writes nothing.
        choices: Per target what is explained, if not the answer itself: a class, a label, a column of numbers.
        method: "shapley", or "occlusion": parts are removed one at a time, which takes a tenth of the time.
        parts: Parts that a cell is divided into, at most.
        pairs: Orders in which parts are removed, each with its reverse.
        donors: Other rows whose cells are tried in the place of the row's own.
        maps: Whether parts of cells are looked at.
        seed: Of orders and donors.
        root: The folder that media paths are relative to; by default the table's own.
        progress: Called with the rows that are done and the rows there are.

    Raises:
        UserError: The bundle or the table can't be read, or there is no such row, target, choice or method.
    """
    options = ExplanationOptions(
        method=method,
        parts=parts,
        pairs=pairs,
        donors=donors,
        maps=maps,
        seed=seed,
    )
    folder = None if output is None else named_path(output, "the folder for explanations")
    loaded = as_bundle(bundle)
    # One row as a dictionary is a table of one row.
    source = [source] if isinstance(source, Mapping) and not _is_columns(source) else source
    table = loaded.read(source, root=root)
    explained = loaded.explain(table, rows, choices=choices, options=options, progress=progress)
    result = Explanations(table=table.name, rows=explained, notes=_notes(options), folder=folder)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        dataset = TableDataset(table, loaded.processor, with_targets=False)
        title = f"{table.name}: {len(explained)} explained prediction{'' if len(explained) == 1 else 's'}"
        write_text(folder / PAGE, render_explanations(title, explained, loaded.schema, dataset, result.notes))
        write_json(folder / JSON_FILE, result.as_json())
    return result


def _is_columns(source: Mapping[str, object]) -> bool:
    return any(isinstance(cell, (list, tuple)) for cell in source.values())


def _notes(options: ExplanationOptions) -> list[str]:
    """How explanations were made, a sentence each."""
    notes = [
        "A column's share is its Shapley value over subsets of the row's columns, the others masked as in a missing "
        "cell. Two columns that say the same thing share what it is worth."
    ]
    if options.maps and options.method == "shapley":
        notes.append(
            f"A part's share is its Shapley value over {2 * options.pairs} orders of removal; the parts sum to what is "
            "lost with all of them. The whole model is asked each time: preprocessing, features, every expert."
        )
        notes.append(
            "Each map is tested: if it is right, the number falls sooner when the strongest parts go first, and later "
            "when they go last, than in random orders."
        )
    elif options.maps:
        notes.append(
            "A part's share is what is lost when it alone is removed; of two that each suffice, none has a share."
        )
    if options.donors:
        notes.append(f"Up to {options.donors} other rows' cells are tried in the place of each of the row's own.")
    notes.append("An explanation says what the model does with its inputs, and not what is true of the world.")
    return notes
