"""How much the key-value cache saves: one batch of texts written with it and without.

    python benchmarks/decoding.py [--tokens 64] [--width 256] [--layers 4] [--rows 32] [--memory 64]

The two give the same texts, which is checked. The default is wide; `--width 64 --layers 2` is small. On a busy machine
only the ratio of one run says something.
"""

from __future__ import annotations

import argparse
import sys
import time

import torch

from polysense.core.rows import RowContext
from polysense.core.tokens import Fused, FusedColumn, Tokens
from polysense.nn.decoding.beam import BeamSearchConfig
from polysense.nn.decoding.greedy import GreedyConfig
from polysense.tasks.generation.heads.decoder import GenerationHead, GenerationHeadConfig
from polysense.tasks.generation.record import GenerationTarget


def build(arguments: argparse.Namespace) -> tuple[GenerationHead, Fused]:
    """An untrained head that never ends a text, and what it writes from."""
    torch.manual_seed(0)
    target = GenerationTarget(
        name="caption",
        columns=("caption",),
        vocabulary_size=arguments.vocabulary,
        padding_id=0,
        begin_id=1,
        end_id=2,
        max_length=arguments.tokens,
    )
    decoding = GreedyConfig() if arguments.beams == 1 else BeamSearchConfig(beam_size=arguments.beams)
    config = GenerationHeadConfig(num_layers=arguments.layers, num_heads=4, decoding=decoding)
    head = config.build(target, arguments.width).eval().to(arguments.device)
    with torch.no_grad():
        head.bias[target.end_id] = -1e4
    values = torch.randn(arguments.rows, arguments.memory, arguments.width, device=arguments.device)
    mask = torch.ones(values.shape[:2], dtype=torch.bool, device=arguments.device)
    pooled = torch.randn(arguments.rows, arguments.width, device=arguments.device)
    tokens = Tokens(values, mask, (arguments.memory,))
    image = FusedColumn(tokens, tokens.mean(), tokens.present, mask.sum(dim=1, keepdim=True))
    return head, Fused(pooled, {"image": image})


def seconds(head: GenerationHead, fused: Fused, *, use_cache: bool, repeats: int) -> tuple[float, torch.Tensor]:
    """The fastest of some repetitions, and the texts."""
    best, texts = float("inf"), torch.zeros(0)
    rows = torch.arange(len(fused.pooled), device=fused.pooled.device)
    context = RowContext(rows, rows)
    for _ in range(repeats):
        start = time.perf_counter()
        texts = head.write(fused, context, use_cache=use_cache).ids[:, 0].cpu()  # waits for a GPU
        best = min(best, time.perf_counter() - start)
    return best, texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    for name, default in (
        ("tokens", 64),
        ("width", 256),
        ("layers", 4),
        ("rows", 32),
        ("memory", 64),
        ("vocabulary", 2000),
        ("beams", 1),
        ("repeats", 3),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    head, fused = build(arguments)
    with torch.inference_mode():
        fast, texts = seconds(head, fused, use_cache=True, repeats=arguments.repeats)
        slow, same = seconds(head, fused, use_cache=False, repeats=max(1, arguments.repeats // 2))
    generated = texts.numel()
    sys.stdout.write(
        f"{arguments.device}, {generated} tokens in {arguments.rows} rows: with the cache {fast:.2f} s "
        f"({generated / fast:,.0f} tokens/s), without {slow:.2f} s; {slow / fast:.1f} times as fast; "
        f"texts {'equal' if torch.equal(texts, same) else 'DIFFERENT'}\n"
    )


if __name__ == "__main__":
    main()
