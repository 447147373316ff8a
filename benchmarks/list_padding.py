"""Lists in a cell: what is padding, and what encoding items in groups by length saves.

    python benchmarks/tables.py dialogue DIR/meld/data.jsonl dialogue.jsonl
    python benchmarks/list_padding.py dialogue.jsonl [--column context] [--rows 2000] [--batch-size 32] [--rounds 3]

The same encoder on the same batches, in three ways, in one run of one thread: every slot of every list padded to the
batch's longest text (`rectangle`); the items that are there, padded likewise (`items`); and in groups by length
(`groups`, as polysense does it). In training forward and back, at prediction forward, where `items` does not exist: how
many there are would change a row's last bits. The median of the rounds, which alternate.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MethodType

import torch

from polysense.core.batch import Batch, ColumnBatch
from polysense.core.item_groups import ItemGroup
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.loader import PredictLoader, TrainLoader
from polysense.data.config import DataConfig
from polysense.data.processor import Processor
from polysense.data.tables.sources import read_table
from polysense.modalities.text.column import TextColumnConfig
from polysense.modalities.text.encoders.transformer import TextTransformerConfig
from polysense.nn.encoder import Encoder


def rectangle(encoder: Encoder, column: ColumnBatch) -> list[ItemGroup]:
    """All slots in one run."""
    return []


def items(encoder: Encoder, column: ColumnBatch) -> list[ItemGroup]:
    """What is there in one run."""
    return [ItemGroup(column.lengths.flatten().nonzero().flatten(), column.values.shape[2])]


def groups(encoder: Encoder, column: ColumnBatch) -> list[ItemGroup]:
    """As polysense does it."""
    return Encoder._groups(encoder, column)


Way = Callable[[Encoder, ColumnBatch], list[ItemGroup]]


def padding(encoder: Encoder, batches: Sequence[ColumnBatch], way: Way) -> float:
    """The share of what is encoded that is no token."""
    computed = 0
    for column in batches:
        found = way(encoder, column)
        runs = [(len(group.items) + group.num_absent) * group.length for group in found]
        computed += sum(runs) if found else column.values.numel()
    return 1 - sum(int(column.lengths.sum()) for column in batches) / computed


def seconds(encoder: Encoder, batches: Sequence[ColumnBatch], way: Way) -> float:
    """Of a pass over the batches."""
    encoder._groups = MethodType(way, encoder)  # type: ignore[method-assign]
    start = time.perf_counter()
    for column in batches:
        if encoder.training:
            encoder(column).mean().square().sum().backward()
        else:
            with torch.no_grad():
                encoder(column).mean()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--column", default="context")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--width", type=int, default=128)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    table = read_table(arguments.table)
    table = table.select(range(min(arguments.rows, len(table))))
    processor = Processor.fit(table, DataConfig(columns={arguments.column: TextColumnConfig()}))
    dataset = TableDataset(table, processor, with_targets=False)
    loaders: dict[str, Callable[[], Sequence[Batch]]] = {
        "training": lambda: list(TrainLoader(dataset, processor.schema, arguments.batch_size, seed=0).epoch(0)),
        "prediction": lambda: list(PredictLoader(dataset, processor.schema)),
    }
    encoder = TextTransformerConfig().create(processor.schema.column(arguments.column), arguments.width)
    print("| | way | padding | s | times |\n| --- | --- | --- | --- | --- |")
    for mode, load in loaders.items():
        encoder.train(mode == "training")
        batches = [batch.columns[arguments.column] for batch in load()]
        ways = (rectangle, items, groups) if encoder.training else (rectangle, groups)
        shares = {way: padding(encoder, batches, way) for way in ways}
        times: dict[Way, list[float]] = {way: [] for way in ways}
        for _ in range(arguments.rounds):
            for way in ways:
                times[way].append(seconds(encoder, batches, way))
        for way in ways:
            median = statistics.median(times[way])
            ratio = statistics.median(a / b for a, b in zip(times[rectangle], times[way], strict=True))
            print(f"| {mode} | {way.__name__} | {shares[way]:.0%} | {median:.1f} | {ratio:.1f} |")


if __name__ == "__main__":
    main()
