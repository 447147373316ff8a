"""Save a bundle of many columns: seconds, by the clock and of processor time."""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

import polysense

SETTINGS = (
    "training.epochs=1", "training.tensorboard=false", "model.width=16", "data.num_workers=0", "evaluation.bootstrap=0",
    "evaluation.contribution=false", "evaluation.report=false", "evaluation.samples=0",
)  # fmt: skip


def main(num_columns: int) -> None:
    draws = random.Random(0)
    rows = [
        {f"c{j}": round(draws.gauss(0, 1), 3) for j in range(num_columns)} | {"label": "ab"[i % 2]} for i in range(60)
    ]
    with tempfile.TemporaryDirectory() as folder:
        run = polysense.fit(
            rows, target="label", output=Path(folder) / "run", preset="fast", progress=False, overrides=SETTINGS
        )
        clock, processor = time.perf_counter(), time.process_time()
        run.bundle.save(Path(folder) / "saved")
        seconds = time.perf_counter() - clock, time.process_time() - processor
    num_tensors = len(run.bundle.model.state_dict())
    print(f"{num_columns} columns, {num_tensors} tensors: {seconds[0]:.1f} s, {seconds[1]:.1f} s of processor time")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
