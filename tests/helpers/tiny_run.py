"""A run of a second: its table, and the overrides that make it so small."""

from __future__ import annotations

from pathlib import Path

__all__ = ["TINY", "write_rows"]

TINY = (
    "training.epochs=2",
    "training.batch_size=16",
    "training.log_every=1",
    "training.checkpoint_every_steps=3",
    "training.tensorboard=false",
    "model.width=16",
    # With the preset's six, and their settings chosen, a run takes ten times as long.
    "model.heads.label.estimators={linear: {type: linear, strength: 1.0, balanced: true}}",
    "data.num_workers=0",
    "evaluation.bootstrap=10",
    "evaluation.baselines=true",
    "evaluation.simple_baselines=false",
    "evaluation.samples=2",
)


def write_rows(path: Path, num_rows: int = 40) -> Path:
    """Two columns that tell the label, and a cell that can't be read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{'ab'[i % 2]},{i % 2 + i * 7 % 10 / 5:.2f},{'pq'[i % 2 ^ (i % 5 == 0)]}" for i in range(num_rows)]
    rows[3] = "b,heavy,q"
    path.write_text("\n".join(["label,size,shop", *rows]) + "\n", encoding="utf-8")
    return path
