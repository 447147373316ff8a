"""What a notebook needs, and what the command line calls: fit, evaluate, predict, load; new, check, compare and demo.

run = polysense.fit("train.csv", target="label")
bundle = polysense.load(run.folder)
polysense.evaluate(bundle, "test.csv")
polysense.predict(bundle, "new.csv").frame
"""

from __future__ import annotations

from polysense.api.checks import Check, check
from polysense.api.comparison import Compared, compare
from polysense.api.run import Run
from polysense.api.showcase import demo
from polysense.api.train import fit, new
from polysense.api.use import evaluate, load, predict

__all__ = ["Check", "Compared", "Run", "check", "compare", "demo", "evaluate", "fit", "load", "new", "predict"]
