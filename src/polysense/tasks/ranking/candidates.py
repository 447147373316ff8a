"""The candidates of a ranking, as a model encodes them."""

from __future__ import annotations

import polars as pl

from polysense.data.tables.sources import Table
from polysense.data.target import TargetProcessor
from polysense.tasks.ranking.catalogue import candidate_table
from polysense.tasks.ranking.target import RankingProcessor

__all__ = ["candidates"]


def candidates(processor: TargetProcessor, table: Table) -> Table | None:
    """The catalogue of a table, in the order of the items' numbers; see `TaskSpec.candidates`.

    None where the table has not just those items, so that what the model keeps of them is used.
    """
    assert isinstance(processor, RankingProcessor)
    if not table.has(processor.config.item):
        return None
    catalogue = candidate_table(processor.config, table, processor.item_sources, processor.item_keys)
    if processor.keys_of(catalogue) != list(processor.known.item_keys):
        return None
    # That a catalogue lacks what describes users goes without saying.
    absent = [name for name in processor.input_sources if not catalogue.has(name)]
    return catalogue.changed(frame=catalogue.frame.with_columns(pl.lit(None, pl.String).alias(name) for name in absent))
