"""Objectives that must know how a training begins: from which weights, on which table, and judged by which bundles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polysense.bundle import load
from polysense.core.task_spec import TargetReader
from polysense.data.tables.sources import Table
from polysense.nn.model import MultimodalModel
from polysense.nn.objectives.base import Beginning, Scorer
from polysense.recipe import Recipe
from polysense.workflows.finetune.transfer import plan_start
from polysense.workflows.fitted_data import FittedData

__all__ = ["begin_objectives"]


def begin_objectives(model: MultimodalModel, recipe: Recipe, data: FittedData, table: Table, *, resume: bool) -> None:
    """Tells those that ask for it of the training that is about to begin.

    Args:
        model: As training starts from it; of a run that is resumed, before its checkpoint is read.
        recipe: The run's.
        data: What the model is trained on.
        table: The training rows, for what a resumed run starts from.
        resume: Whether it is resumed.

    Raises:
        ConfigError: An objective can't begin from these weights or on this table.
    """
    watching = [objective for objective in model.by_objective().values() if objective.watches_start]
    if not watching:
        return
    start = data.start
    if resume and start is None and recipe.init_from is not None:
        start = plan_start(recipe, table)
        assert start is not None, "the recipe starts from a bundle"
        start.apply(model)
    rows = data.train.table
    readers: dict[str, TargetReader] = {}
    for name, processor in data.processor.targets.items():
        reader = processor.reader(rows)
        if reader is not None:
            readers[name] = reader
    beginning = Beginning(
        model=model,
        is_trained=start is not None and not start.not_moved,
        num_rows=len(rows),
        readers=readers,
        scorer=lambda path: _scorer(path, rows),
    )
    for objective in watching:
        objective.begin(beginning)


def _scorer(path: str, table: Table) -> Scorer:
    """A bundle as a judge of a table's rows; on the CPU, where it waits for nobody's memory."""
    bundle = load(path, device="cpu")
    columns = [processor.source for processor in bundle.processor.columns.values()]

    def score(rows: Sequence[int], cells: Mapping[str, Sequence[object]]) -> Mapping[str, Sequence[object]]:
        own = [column for column in columns if column not in cells and table.has(column)]
        source = [
            {column: table.cell(row, column) for column in own} | {name: each[index] for name, each in cells.items()}
            for index, row in enumerate(rows)
        ]
        return bundle.predict(source, root=table.root).frame.to_dict(as_series=False)

    return score
