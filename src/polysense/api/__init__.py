"""What a notebook needs, and what the command line calls: fit, evaluate, predict, load; new, check, compare and demo.

run = polysense.fit("train.csv", target="label")
bundle = polysense.load(run.folder)
polysense.evaluate(bundle, "test.csv")
polysense.predict(bundle, "new.csv").frame
"""

from __future__ import annotations

from polysense.api.checks import Check, check
from polysense.api.comparison import Compared, compare
from polysense.api.embedding import Embeddings, embed, embeddings
from polysense.api.imputation import Imputed, impute
from polysense.api.indexing import Indexed, index_table
from polysense.api.maps import Mapped, map_rows
from polysense.api.prompts import ZeroShot, zero_shot
from polysense.api.retrieval import Found, search
from polysense.api.run import Run
from polysense.api.shots import Shots, fewshot
from polysense.api.showcase import demo
from polysense.api.train import fit, new
from polysense.api.use import evaluate, load, predict, stream

__all__ = [
    "Check",
    "Compared",
    "Embeddings",
    "Found",
    "Imputed",
    "Indexed",
    "Mapped",
    "Run",
    "Shots",
    "ZeroShot",
    "check",
    "compare",
    "demo",
    "embed",
    "embeddings",
    "evaluate",
    "fewshot",
    "fit",
    "impute",
    "index_table",
    "load",
    "map_rows",
    "new",
    "predict",
    "search",
    "stream",
    "zero_shot",
]
