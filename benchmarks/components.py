"""Parameters, FLOPs and samples per second of every registered encoder and fusion at one size, against other libraries.

    python benchmarks/components.py [--rounds 9] [--quick] [--large] [--only NAME ...] [--threads 1] [--json FILE]

Every component is built with its defaults (what can't be is given what it needs in `cases`) and trained on random
values: forward and backward, no optimizer, augmentation off, dropout on. Where timm, transformers or torch implement
the same (benchmarks/references.py), that runs in the same process at the same size with as many parameters (within 2%,
the projection to the tokens' width apart), in the fastest of its layouts and kernels.

All sides of a component take turns; the ratio of each round is taken, and the median, least and most are printed. With
one thread the clock is the process's own CPU time, so that other programs disturb little. FLOPs are those of a
forward, 2 for a multiplication and an addition, as torch's FlopCounterMode counts them: matrix products, convolutions
and attention. Not counted: Fourier transforms, look-ups, sums over bags, normalization, pooling, element-wise work.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from polysense.config.base import members
from polysense.core import registry
from polysense.core.batch import ColumnBatch
from polysense.core.schema import Column, Requirements
from polysense.core.tokens import Fused, Tokens
from polysense.errors import ConfigError
from polysense.modalities.audio.record import AudioColumn
from polysense.modalities.category.record import CategoryColumn, CategoryRequirements
from polysense.modalities.date.record import DateColumn
from polysense.modalities.image.record import ImageColumn
from polysense.modalities.number.record import NumberColumn, NumberRequirements
from polysense.modalities.text.record import TextColumn
from polysense.nn.encoder import EncoderConfig
from polysense.nn.fusion import FusionConfig
from references import ENCODERS, FUSIONS, Reference, Size, bert, transformers_vit

LIMIT = 1.1
SECONDS = 0.2  # of one side in one round, at least one pass
TURNS = 6  # in which all sides of a round alternate


@dataclass(frozen=True)
class Case:
    """A component as it is measured.

    Attributes:
        name: The row's name: the component's type, and which of several settings.
        make: Builds it.
        inputs: What it is given.
        references: What it is compared with.
        projected: Whether its parameters named `project...` are left out of the comparison of sizes.
    """

    name: str
    make: Callable[[], nn.Module]
    inputs: Any
    references: Sequence[Reference]
    projected: bool


def fitted(modality: str, size: Size, requested: Requirements) -> Column:
    """A column as fitting would leave it, with all that an encoder of its modality may ask for."""
    match modality:
        case "text":
            return TextColumn(
                name="column",
                typical_length=size.text_length,
                vocabulary_size=size.vocabulary,
                vocabulary=tuple(f"word{index}" for index in range(size.vocabulary)),
                document_frequencies=tuple(1 / (2 + index) for index in range(size.vocabulary)),
                num_documents=10_000,
            )
        case "image":
            side = (size.side, size.side)
            return ImageColumn(name="column", image_size=side, num_channels=3, mean=(0.5,) * 3, std=(0.25,) * 3)
        case "audio":
            length = size.seconds * size.sample_rate
            return AudioColumn(name="column", typical_length=length, sample_rate=size.sample_rate)
        case "number":
            edges = torch.linspace(-2, 2, (NumberRequirements.of(requested).num_quantiles or 1) + 1).tolist()
            return NumberColumn(name="column", mean=0.0, std=1.0, quantiles=tuple(edges))
        case "category":
            hashed = CategoryRequirements.of(requested)
            buckets = hashed.hash_buckets or 999
            return CategoryColumn(name="column", num_categories=buckets + 1, num_hashes=hashed.num_hashes or 1)
        case _:
            return DateColumn(name="column", mean=0.0, std=1.0, num_values=9)


def random_column(column: Column, size: Size) -> ColumnBatch:
    """A batch of it; texts and clips are half to wholly as long as the batch."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.ones(size.batch, 1, dtype=torch.int64)

    def spread(longest: int) -> Tensor:
        return torch.linspace(longest / 2, longest, size.batch).round().long()[:, None]

    match column.modality:
        case "text":
            shape = (size.batch, 1, size.text_length)
            values = torch.randint(
                1, TextColumn.of(column).vocabulary_size, shape, generator=generator, dtype=torch.int32
            )
            lengths = spread(size.text_length)
        case "image":
            shape = (size.batch, 1, 3, size.side, size.side)
            values = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        case "audio":
            samples = size.seconds * size.sample_rate
            noise = 3000 * torch.randn(size.batch, 1, samples, generator=generator)
            values, lengths = noise.to(torch.int16), spread(samples)
        case "category":
            shape = (size.batch, 1, *registry.modality(column.modality).item_shape(column, 1))
            values = torch.randint(0, CategoryColumn.of(column).num_categories, shape, generator=generator)
        case _:
            values = torch.randn(
                size.batch, 1, *registry.modality(column.modality).item_shape(column, 1), generator=generator
            )
    return ColumnBatch(values=values, lengths=lengths)


def random_tokens(size: Size) -> dict[str, Tokens]:
    """Three columns as encoders give them, the second of texts half to wholly as long as the batch."""
    generator = torch.Generator().manual_seed(0)
    found = {}
    for index, length in enumerate(size.tokens):
        values = torch.randn(size.batch, length, size.width, generator=generator).requires_grad_()
        lengths = torch.full((size.batch,), length)
        if index == 1:
            lengths = torch.linspace(length / 2, length, size.batch).round().long()
        found[f"column {index}"] = Tokens(values, torch.arange(length) < lengths[:, None], (length,))
    return found


def settings(folder: Path, size: Size) -> dict[str, list[tuple[str, dict[str, Any], str | None]]]:
    """What encoders are given that can't be built from their defaults, or are worth a second row."""
    bert(size, pooled=True).save_pretrained(folder / "bert")
    transformers_vit(size)[0].save_pretrained(folder / "vit")
    numbers = " ".join(["0.25"] * 100)
    lines = "\n".join(f"word{index} {numbers}" for index in range(size.vocabulary))
    (folder / "vectors.txt").write_text(lines, "utf-8")
    whole = {"tune": "full"}
    return {
        "pretrained": [
            ("pretrained (BERT)", {"path": str(folder / "bert"), **whole}, "text"),
            ("pretrained (ViT)", {"path": str(folder / "vit"), **whole}, "image"),
        ],
        "timm": [("timm (resnet18)", {"name": "resnet18", "pretrained": False, **whole}, None)],
        "word_vectors": [("word_vectors", {"path": str(folder / "vectors.txt")}, None)],
        "text_rnn": [("text_rnn", {}, None), ("text_rnn (gru)", {"cell": "gru"}, None)],
    }


def cases(size: Size, folder: Path, only: Sequence[str], left_out: dict[str, str]) -> Iterator[Case]:
    """Everything that is registered; what can't be built is noted in `left_out`."""
    needs: dict[str, list[tuple[str, dict[str, Any], str | None]]] = {}
    encoders: Mapping[str, Any] = members(EncoderConfig.family)
    if {"pretrained", "timm", "word_vectors", "text_rnn"} & set(only or encoders):
        needs = settings(folder, size)
    for kind, config_class in encoders.items():
        if only and kind not in only:
            continue
        if kind == "auto":
            left_out[kind] = "a choice among the others"
            continue
        for name, arguments, modality in needs.get(kind, [(kind, {}, None)]):
            try:
                config = config_class(**arguments)
            except (TypeError, ConfigError) as error:
                left_out[name] = str(error)
                continue
            # What asks a tokenizer or a processor of a folder is not asked: the column is as it is.
            modality = modality or min(config.reads())
            requested = Requirements() if kind == "pretrained" else config.requirements("column", modality)
            column = fitted(modality, size, requested)

            def make(config: Any = config, column: Column = column) -> nn.Module:
                encoder: nn.Module = config.create(column, size.width)
                return encoder

            yield Case(name, make, random_column(column, size), ENCODERS.get(name, ()), True)
    fusions: Mapping[str, Any] = members(FusionConfig.family)
    tokens = random_tokens(size)
    for kind, config_class in fusions.items():
        if only and kind not in only:
            continue
        try:
            config = config_class()
        except (TypeError, ConfigError) as error:
            left_out[kind] = str(error)
            continue

        def build(config: Any = config) -> nn.Module:
            fusion: nn.Module = config.build(tuple(tokens), size.width)
            return fusion

        yield Case(f"fusion {kind}", build, tokens, FUSIONS.get(kind, ()), False)


def outputs(result: Any) -> list[Tensor]:
    """What the rest of a model reads of a component."""
    if isinstance(result, Tokens):
        return [result.values]
    if isinstance(result, Fused):
        return [result.joined().values, result.pooled]
    return list(result) if isinstance(result, tuple) else [result]


class Side:
    """A module and one training pass of it."""

    def __init__(self, module: nn.Module, inputs: Any) -> None:
        self.module, self.inputs = module.train(), inputs
        self.leaves = [parameter for parameter in module.parameters() if parameter.requires_grad]
        if isinstance(inputs, dict):
            self.leaves += [tokens.values for tokens in inputs.values()]
        generator = torch.Generator().manual_seed(0)
        found = [output for output in outputs(module(inputs)) if output.requires_grad]
        self.gradients = [torch.randn(output.shape, generator=generator) for output in found]
        self.shapes = [output.shape for output in found]

    def pass_once(self) -> None:
        for leaf in self.leaves:
            leaf.grad = None
        found = [output for output in outputs(self.module(self.inputs)) if output.requires_grad]
        torch.autograd.backward(found, self.gradients)

    def seconds(self, passes: int) -> float:
        """Of one pass, the mean over some."""
        clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
        started = clock()
        for _ in range(passes):
            self.pass_once()
        return (clock() - started) / passes

    def parameters(self, projected: bool) -> int:
        """Trainable ones, with or without the projection to the tokens' width."""
        return sum(
            parameter.numel()
            for name, parameter in self.module.named_parameters()
            if parameter.requires_grad and not (projected and name.startswith("project"))
        )


def flops(side: Side, batch: int) -> float:
    """Per sample, of a forward. oneDNN's LSTM is one operation that the counter doesn't know, so it is switched off."""
    # With gradients, though nothing goes back: the counter looks for their functions.
    with FlopCounterMode(display=False) as counter, torch.backends.mkldnn.flags(enabled=False):
        side.module(side.inputs)
    return counter.get_total_flops() / batch


def fastest(reference: Reference, inputs: Any, size: Size) -> tuple[str, Side]:
    """The variant that is the fastest of a short trial."""
    best: tuple[float, str, Side] | None = None
    for name, make in reference.variants.items():
        torch.manual_seed(0)
        side = Side(make(size), inputs)
        side.pass_once()
        taken = side.seconds(1)
        if len(reference.variants) > 1:
            passes = max(round(SECONDS / taken / 4), 1)
            taken = min(side.seconds(passes) for _ in range(2))
        if best is None or taken < best[0]:
            best = taken, name, side
    assert best is not None
    return best[1:]


def same_size(case: Case, ours: Side, reference: Reference, theirs: Side) -> int:
    """Checks that two sides give the same shapes from as many parameters; returns theirs."""
    assert theirs.shapes == ours.shapes[: len(theirs.shapes)], f"{case.name}: {ours.shapes}, {theirs.shapes}"
    expected, found = ours.parameters(case.projected), theirs.parameters(case.projected)
    assert abs(found - expected) <= reference.tolerance * expected, (
        f"{case.name}: {expected:,} parameters, {reference.name} {found:,}"
    )
    return theirs.parameters(False)


def measure(case: Case, size: Size, rounds: int) -> list[dict[str, Any]]:
    """One row for each of a component's references, or one if it has none."""
    torch.manual_seed(0)
    ours = Side(case.make(), case.inputs)
    ours.pass_once()
    others = [(reference, *fastest(reference, case.inputs, size)) for reference in case.references]
    sides = [ours, *(side for _, _, side in others)]
    for reference, _, side in others:
        same_size(case, ours, reference, side)
    passes = [max(round(SECONDS / TURNS / side.seconds(2)), 1) for side in sides]
    turns = TURNS if max(passes) > 1 else 1
    times: list[list[float]] = [[] for _ in sides]
    for number in range(rounds):
        taken = [0.0] * len(sides)
        for turn in range(turns):
            for place in range(len(sides)) if (number + turn) % 2 == 0 else reversed(range(len(sides))):
                taken[place] += sides[place].seconds(passes[place]) / turns
        for place, seconds in enumerate(taken):
            times[place].append(seconds)
    row: dict[str, Any] = {
        "component": case.name,
        "parameters": ours.parameters(False),
        "mflops_per_sample": round(flops(ours, size.batch) / 1e6, 3),
        "samples_per_second": round(size.batch / statistics.median(times[0]), 1),
        "rounds": rounds,
    }
    rows = [row] if not others else []
    for (reference, variant, side), taken in zip(others, times[1:], strict=True):
        ratios = [mine / theirs for mine, theirs in zip(times[0], taken, strict=True)]
        rows.append(
            {
                **row,
                "reference": reference.name,
                "variant": variant,
                "differs": reference.differs,
                "reference_parameters": side.parameters(False),
                "reference_mflops_per_sample": round(flops(side, size.batch) / 1e6, 3),
                "reference_samples_per_second": round(size.batch / statistics.median(taken), 1),
                "ratio_median": round(statistics.median(ratios), 3),
                "ratio_min": round(min(ratios), 3),
                "ratio_max": round(max(ratios), 3),
                "over": statistics.median(ratios) > LIMIT,
            }
        )
    return rows


HEADER = (
    "| component | parameters | MFLOPs/sample | samples/s | reference | its parameters | its MFLOPs | its samples/s | "
    "our time over its |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


def mega(value: float) -> str:
    """Three digits."""
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def line(row: Mapping[str, Any]) -> str:
    """A row of the table."""
    cells = [
        row["component"],
        f"{row['parameters']:,}",
        mega(row["mflops_per_sample"]),
        f"{row['samples_per_second']:,.0f}",
    ]
    if "reference" in row:
        ratio = f"{row['ratio_median']:.2f} ({row['ratio_min']:.2f}–{row['ratio_max']:.2f})"
        cells += [
            row["reference"] + (f" ({row['variant']})" if row["variant"] else ""),
            f"{row['reference_parameters']:,}",
            mega(row["reference_mflops_per_sample"]),
            f"{row['reference_samples_per_second']:,.0f}",
            f"**{ratio}, over {LIMIT}**" if row["over"] else ratio,
        ]
    else:
        cells += ["none", "", "", "", ""]
    return f"| {' | '.join(cells)} |"


def quiet() -> None:
    """Other libraries' news, warnings and progress bars."""
    warnings.filterwarnings("ignore", module="torch|timm|transformers")
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", default=(), help="types of encoders and fusions")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="2 rounds")
    parser.add_argument("--large", action="store_true", help="pictures of 224 px instead of 64")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    options = parser.parse_args()
    known = {*members(EncoderConfig.family), *members(FusionConfig.family)}
    if unknown := set(options.only) - known:
        parser.error(f"--only: no encoder or fusion is named {', '.join(sorted(unknown))}; known: {sorted(known)}")
    torch.set_num_threads(options.threads)
    quiet()
    size = Size(side=224 if options.large else 64)
    rounds = 2 if options.quick else options.rounds
    started = time.perf_counter()
    print(
        f"Batch {size.batch}, width {size.width}; text of {size.text_length} tokens out of {size.vocabulary:,}; "
        f"pictures of 3x{size.side}x{size.side}; {size.seconds} s of sound at {size.sample_rate // 1000} kHz; fusions "
        f"of three columns with {', '.join(map(str, size.tokens))} tokens. {rounds} rounds, {options.threads} thread(s)"
        f", torch {torch.__version__}.\n\n{HEADER}",
        flush=True,
    )
    rows: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(size, Path(folder), options.only, left_out):
            gc.collect()
            found = measure(case, size, rounds)
            rows += found
            print("\n".join(map(line, found)), flush=True)
    seconds = time.perf_counter() - started
    print()
    for name, reason in left_out.items():
        print(f"- Not measured: {name}: {reason}.")
    for name, differs in {
        f"{row['component']}: {row['reference']}": row["differs"] for row in rows if row.get("differs")
    }.items():
        print(f"- {name} differs: {differs}.")
    over = [row for row in rows if row.get("over")]
    compared = [row for row in rows if "reference" in row]
    print(f"- {len(over)} of {len(compared)} comparisons over {LIMIT}; {seconds:.0f} s in all.")
    if options.json is not None:
        settings_of_run = {
            "size": dataclasses.asdict(size),
            "threads": options.threads,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "argv": sys.argv[1:],
        }
        options.json.write_text(json.dumps({**settings_of_run, "left_out": left_out, "rows": rows}, indent=1), "utf-8")


if __name__ == "__main__":
    main()
