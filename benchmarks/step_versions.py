"""How much faster or slower a training step became from one checkout of polysense to another.

    git worktree add /tmp/before COMMIT
    python benchmarks/step_versions.py /tmp/before . DIR [--rounds 20] [--steps 10]    # DIR made by mixed_table.py make

Each checkout trains the same model on the same batches in a process of its own, by the Trainer and its callbacks (the
comparison `step` of its own step_overhead.py). The two take turns, a few steps at a time, and CPU seconds are taken
rather than the clock's, so a busy machine hits both alike; the ratio of each pair is taken, and the median printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

WORKER = """
import logging, sys, time
from pathlib import Path
import torch
import step_overhead as bench
folder, steps = Path(sys.argv[1]), int(sys.argv[2])
logging.getLogger("polysense").setLevel(logging.WARNING)
torch.set_num_threads(1)
prepared = bench.prepare(folder / "train.csv", target="label", columns=bench.IGNORED)
processor = bench.Processor.fit(prepared.table, prepared.recipe.data)
dataset = bench.TableDataset(prepared.table, processor, cache_bytes=2**30)
batches = list(bench.TrainLoader(dataset, processor.schema, 32, 0).epoch(0))[:steps]
print("ready", flush=True)
for line in sys.stdin:
    torch.manual_seed(0)
    model = prepared.recipe.model.build(processor.schema)
    before = time.process_time()
    bench.by_trainer(model, bench.Repeated(batches), 1)
    print(time.process_time() - before, flush=True)
"""


class Checkout:
    """A checkout's process, which trains when it is asked to."""

    def __init__(self, root: Path, folder: Path, steps: int) -> None:
        paths = os.pathsep.join([str(root.resolve() / "src"), str(root.resolve() / "benchmarks")])
        environment = os.environ | {"PYTHONPATH": paths, "POLYSENSE_TYPECHECK": "0", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", WORKER, str(folder.resolve()), str(steps)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            env=environment,
        )
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line, f"the process ended with {self.process.wait()}"
        return line

    def seconds(self) -> float:
        """CPU seconds of one training."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        """Ends the process."""
        self.process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    before, after = (Checkout(root, options.folder, options.steps) for root in (options.before, options.after))
    for each in (before, after):
        each.seconds()  # oneDNN builds its kernels once per shape
    pairs = []
    for turn in range(options.rounds):
        first, second = (before, after) if turn % 2 == 0 else (after, before)
        taken = {id(each): each.seconds() for each in (first, second)}
        pairs.append((taken[id(before)], taken[id(after)]))
    ratios = sorted(old / new for old, new in pairs)
    quarter = len(ratios) // 4
    old, new = (statistics.median(side) * 1e3 / options.steps for side in zip(*pairs, strict=True))
    print(
        json.dumps(
            {
                "speed_median": round(statistics.median(ratios), 3),
                "speed_quartiles": [round(ratios[quarter], 3), round(ratios[-1 - quarter], 3)],
                "before_cpu_ms_per_step": round(old, 2),
                "after_cpu_ms_per_step": round(new, 2),
                "rounds": len(pairs),
            }
        )
    )
    for each in (before, after):
        each.close()


if __name__ == "__main__":
    main()
