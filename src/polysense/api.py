"""What a notebook needs, and what the command line calls: fit, evaluate, predict, load; new, check, compare and demo.

run = polysense.fit("train.csv", target="label")
bundle = polysense.load(run.folder)
polysense.evaluate(bundle, "test.csv")
polysense.predict(bundle, "new.csv").frame
"""

from __future__ import annotations

from polysense.reports.check import Check
from polysense.workflows.check import check
from polysense.workflows.comparison.compare import Compared, compare
from polysense.workflows.demo import demo
from polysense.workflows.fit import fit, new
from polysense.workflows.imputation.impute import Imputed, impute
from polysense.workflows.predict import evaluate, load, predict, stream
from polysense.workflows.representation.embed import Embeddings, embed, embeddings
from polysense.workflows.representation.embedding_map import Mapped, map_rows
from polysense.workflows.representation.few_shot import Shots, fewshot
from polysense.workflows.representation.index import IndexResult, index_table
from polysense.workflows.representation.search import SearchResult, search
from polysense.workflows.representation.zero_shot import ZeroShot, zero_shot
from polysense.workflows.run import Run

__all__ = [
    "Check",
    "Compared",
    "Embeddings",
    "Imputed",
    "IndexResult",
    "Mapped",
    "Run",
    "SearchResult",
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
