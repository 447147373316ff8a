"""What training a text decoder costs: against a loop written by hand, packed against padded, grouped against not.

    python benchmarks/sequence_training.py [loop packing grouping] [--rounds 5] [--table FILE --column TEXT]

1. `loop`: polysense's training (Trainer, all of its callbacks, counting of tokens) against a hand-written PyTorch loop
   over the same model and the same batches: forward, backward, clipping, fused AdamW. How many times as fast it is: at
   least 0.95 is the aim.
2. `packing`: the same step with the decoder's texts packed and padded, for several shares of padding.
3. `grouping`: an epoch of a text classifier over texts of unequal length, in batches of rows as they come, of rows
   grouped by length, and by a budget of tokens.

Sides alternate, each ratio is of one round, and the median is printed with the smallest and the largest. One thread,
seconds of the process, so that another process beside it disturbs little.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from polysense.core.batch import Batch, ColumnBatch
from polysense.core.schema import Schema
from polysense.data.batches.batching import RowBatchingConfig, TokenBatchingConfig
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.loader import TrainLoader
from polysense.data.batches.token_counts import count_tokens, row_lengths
from polysense.data.config import DataConfig
from polysense.data.processor import Processor
from polysense.data.tables.sources import read_table
from polysense.modalities.text.column import TextColumnConfig
from polysense.modalities.text.encoders.transformer import TextTransformerConfig
from polysense.modalities.text.record import TextColumn
from polysense.nn.fusion.transformer import TransformerFusionConfig
from polysense.nn.model import MultimodalModel
from polysense.nn.model_config import ModelConfig
from polysense.tasks.classification.heads.classification import ClassificationHeadConfig
from polysense.tasks.classification.target import ClassificationTargetConfig
from polysense.tasks.generation.heads.decoder import GenerationHeadConfig
from polysense.tasks.generation.record import GenerationTarget
from polysense.tasks.generation.truth import GenerationTruth
from polysense.training.config import TrainingConfig
from polysense.training.trainer import Trainer

VOCABULARY, ROWS = 4000, 32

# Seconds of this process: on a machine that is shared, the time on the wall says what the neighbors do.
CLOCK = time.process_time


class Repeated:
    """Batches that are there already, as a loader that notes how long their steps took."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self.batches, self.seconds = batches, 0.0

    def num_batches(self, epoch: int) -> int:
        return len(self.batches)

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        started = CLOCK()
        yield from self.batches[start_step:]
        self.seconds += CLOCK() - started


SCHEMA = Schema(
    columns=(TextColumn(name="source", vocabulary_size=VOCABULARY, typical_length=24),),
    targets=(
        GenerationTarget(
            name="caption", columns=("caption",), vocabulary_size=VOCABULARY,
            padding_id=0, begin_id=1, end_id=2, max_length=40,
        ),
    ),
)  # fmt: skip


def captions(num: int, spread: float, mean: float = 12.0) -> list[Batch]:
    """Batches of texts to be written, of log-normal length; the spread decides how much is padding."""
    draw, found = np.random.default_rng(0), []
    for _ in range(num):
        lengths = np.clip(np.exp(draw.normal(np.log(mean), spread, ROWS)).astype(np.int64), 3, 60)
        values = np.zeros((ROWS, lengths.max()), dtype=np.int64)
        for row, length in enumerate(lengths):
            values[row, :length] = draw.integers(3, VOCABULARY, length)
            values[row, 0], values[row, length - 1] = 1, 2
        source = torch.from_numpy(draw.integers(1, VOCABULARY, (ROWS, 1, 24)).astype(np.int32))
        column = ColumnBatch(values=source, lengths=torch.full((ROWS, 1), 24))
        known = torch.from_numpy(lengths)
        target = GenerationTruth(values=torch.from_numpy(values), present=known > 0, lengths=known)
        found.append(Batch(rows=torch.arange(ROWS), columns={"source": column}, truths={"caption": target}))
    return found


def writer(packing: bool | str) -> MultimodalModel:
    """A text encoder and a decoder, as the presets make them."""
    torch.manual_seed(0)
    head = GenerationHeadConfig(packing=packing)  # type: ignore[arg-type]
    return ModelConfig(
        encoders={"source": TextTransformerConfig()}, fusion=TransformerFusionConfig(), heads={"caption": head}
    ).build(SCHEMA)


def by_hand(model: MultimodalModel, batches: Sequence[Batch], epochs: int = 1) -> float:
    """Seconds of a hand-written loop."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    model.train()
    started = CLOCK()
    for _ in range(epochs):
        for batch in batches:
            loss = next(iter(model(batch).losses.values()))
            (loss.total.sum() / loss.count.sum()).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    return CLOCK() - started


def by_trainer(model: MultimodalModel, batches: Sequence[Batch], epochs: int = 1) -> float:
    """Seconds of the Trainer's steps, callbacks and counting of tokens included."""
    with tempfile.TemporaryDirectory() as folder:
        config, loader = TrainingConfig(epochs=epochs, num_threads=1), Repeated(batches)
        trainer = Trainer(
            config,
            model,
            loader,
            folder=Path(folder),
            count_tokens=lambda batch: count_tokens(batch, SCHEMA),
        )
        trainer.fit()
        return loader.seconds


def compare(name: str, sides: dict[str, Callable[[], float]], rounds: int, facts: dict[str, object]) -> None:
    """Prints seconds of the first side over each other's: how many times as fast the other one is."""
    for run in sides.values():
        run()  # kernels are built once for each shape
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, run in sides.items():
            seconds[side].append(run())
    first, *others = sides
    for other in others:
        ratios = [a / b for a, b in zip(seconds[first], seconds[other], strict=True)]
        print(
            json.dumps(
                {
                    "comparison": f"{name}: {other} over {first}",
                    "times_as_fast": round(statistics.median(ratios), 3),
                    "least": round(min(ratios), 3),
                    "most": round(max(ratios), 3),
                    f"seconds_{first}": round(statistics.median(seconds[first]), 3),
                    f"seconds_{other}": round(statistics.median(seconds[other]), 3),
                    "rounds": rounds,
                    **facts,
                }
            ),
            flush=True,
        )


def loop(arguments: argparse.Namespace) -> None:
    batches = captions(arguments.steps, 0.3)
    tokens = sum(count_tokens(batch, SCHEMA).targets for batch in batches)
    for packing in (False, True):
        sides: dict[str, Callable[[], float]] = {
            "hand-written": lambda p=packing: by_hand(writer(p), batches),  # type: ignore[misc]
            "polysense": lambda p=packing: by_trainer(writer(p), batches),  # type: ignore[misc]
        }
        compare("loop", sides, arguments.rounds, {"packing": packing, "target_tokens": tokens})


def packing(arguments: argparse.Namespace) -> None:
    for spread in (0.05, 0.15, 0.3, 0.6):
        batches = captions(arguments.steps, spread)
        padded = sum(batch.truths["caption"].values[:, 1:].numel() for batch in batches)
        tokens = sum(count_tokens(batch, SCHEMA).targets for batch in batches)
        sides: dict[str, Callable[[], float]] = {
            "padded": lambda b=batches: by_hand(writer(False), b),  # type: ignore[misc]
            "packed": lambda b=batches: by_hand(writer(True), b),  # type: ignore[misc]
        }
        compare("packing", sides, arguments.rounds, {"padding": round(1 - tokens / padded, 3)})


def grouping(arguments: argparse.Namespace) -> None:
    table = read_table(arguments.table)
    started = time.perf_counter()
    data = DataConfig(
        columns={arguments.column: TextColumnConfig(max_tokens=arguments.max_tokens)},
        targets={arguments.target: ClassificationTargetConfig()},
    )
    table = table.select(np.arange(min(arguments.rows, len(table))))
    processor = Processor.fit(table, data)
    fitted = time.perf_counter()
    lengths = row_lengths(table, processor.columns, processor.targets)
    measured = time.perf_counter() - fitted
    dataset = TableDataset(table, processor, cache_bytes=2**30)
    dataset.__getitems__(range(len(dataset)))

    def model() -> MultimodalModel:
        torch.manual_seed(0)
        heads = {arguments.target: ClassificationHeadConfig()}
        encoders = {arguments.column: TextTransformerConfig()}
        return ModelConfig(encoders=encoders, fusion=TransformerFusionConfig(), heads=heads).build(processor.schema)

    facts: dict[str, object] = {
        "rows": len(table),
        "lengths_s": round(measured, 2),
        "fit_s": round(fitted - started, 2),
    }
    sides: dict[str, Callable[[], float]] = {}
    for name, batching in (
        ("rows", RowBatchingConfig()),
        ("grouped", RowBatchingConfig(group_by_length=True)),
        ("tokens", TokenBatchingConfig()),
    ):
        built = batching.build(ROWS, lengths)
        with TrainLoader(dataset, processor.schema, ROWS, 0, batching=built) as loader:
            batches = list(loader.epoch(0))
        counts = [count_tokens(batch, processor.schema) for batch in batches]
        share = 1 - sum(count.valid for count in counts) / sum(count.padded for count in counts)
        facts |= {f"steps_{name}": len(batches), f"padding_{name}": round(share, 3)}
        sides[name] = lambda b=batches: by_hand(model(), b)  # type: ignore[misc]
    compare("grouping", sides, arguments.rounds, facts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["loop", "packing"], metavar="loop|packing|grouping")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--column", default="text")
    parser.add_argument("--target", default="label")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--max-tokens", type=int, default=None)
    arguments = parser.parse_args()
    logging.getLogger("polysense").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    for what in arguments.what:
        {"loop": loop, "packing": packing, "grouping": grouping}[what](arguments)


if __name__ == "__main__":
    main()
