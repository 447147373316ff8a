"""The public functions: what a script, a notebook and the command line call.

    run = polysense.fit("train.csv", target="label")
    bundle = polysense.load(run.folder)
    polysense.evaluate(bundle, "test.csv")
    polysense.predict(bundle, "new.csv").frame

Each is defined in its workflow, where its arguments, results and errors are documented once (`help(polysense.fit)`): a
second set of signatures here would only drift from it. What stands here keeps its name and its meaning; what does not
may change.

| task | functions |
|---|---|
| train | `check`, `show_augmented`, `new`, `prepare`, `fit`, `compare`, `demo`, `report` |
| label | `label`, `export_labels`, `import_labels` |
| use | `load`, `predict`, `stream`, `evaluate`, `explain`, `audit`, `impute` |
| represent | `embed`, `embeddings`, `fewshot`, `zero_shot`, `map_rows` |
| search | `index_table`, `search`, `VectorIndex` |
| label | `simulate_labeling` |
| write | `convert`, `write_shards` |
| look up | `catalogue` (what a recipe can name), `recipe_schema`, `audit_schema`, `check_schema` |
"""

from __future__ import annotations

from typing import Any

from polysense.bundle import load
from polysense.config.codec import json_schema
from polysense.data.tables.shard_writer import ShardsWritten
from polysense.evaluation.audit.result import AuditResult, audit_schema
from polysense.recipe import Recipe
from polysense.reports.check import Check, check_schema
from polysense.search import VectorIndex
from polysense.workflows import catalogue
from polysense.workflows.audit.audit import audit
from polysense.workflows.augmented import show_augmented
from polysense.workflows.cell_preparation import PreparedCells, prepare
from polysense.workflows.check.check import check
from polysense.workflows.comparison.compare import Compared, compare
from polysense.workflows.convert import Converted, convert
from polysense.workflows.demo import demo
from polysense.workflows.evaluate import Scores, evaluate
from polysense.workflows.explain import Explanations, explain
from polysense.workflows.fit import fit, new
from polysense.workflows.imputation.impute import Imputed, impute
from polysense.workflows.labeling.export import ExportedLabels, ImportedLabels, export_labels, import_labels
from polysense.workflows.labeling.label import label
from polysense.workflows.labeling.session import LabelingSession
from polysense.workflows.labeling.simulate import Simulation, simulate_labeling
from polysense.workflows.predict import predict, stream
from polysense.workflows.report import report
from polysense.workflows.representation.embed import Embeddings, embed, embeddings
from polysense.workflows.representation.embedding_map import Mapped, map_rows
from polysense.workflows.representation.few_shot import Shots, fewshot
from polysense.workflows.representation.index import IndexResult, index_table
from polysense.workflows.representation.search import SearchResult, search
from polysense.workflows.representation.zero_shot import ZeroShot, zero_shot
from polysense.workflows.run import Run
from polysense.workflows.shards import write_shards

__all__ = [
    "AuditResult",
    "Check",
    "Compared",
    "Converted",
    "Embeddings",
    "Explanations",
    "ExportedLabels",
    "ImportedLabels",
    "Imputed",
    "IndexResult",
    "LabelingSession",
    "Mapped",
    "PreparedCells",
    "Run",
    "Scores",
    "SearchResult",
    "ShardsWritten",
    "Shots",
    "Simulation",
    "VectorIndex",
    "ZeroShot",
    "audit",
    "audit_schema",
    "catalogue",
    "check",
    "check_schema",
    "compare",
    "convert",
    "demo",
    "embed",
    "embeddings",
    "evaluate",
    "explain",
    "export_labels",
    "fewshot",
    "fit",
    "import_labels",
    "impute",
    "index_table",
    "label",
    "load",
    "map_rows",
    "new",
    "predict",
    "prepare",
    "recipe_schema",
    "report",
    "search",
    "show_augmented",
    "simulate_labeling",
    "stream",
    "write_shards",
    "zero_shot",
]


def recipe_schema() -> dict[str, Any]:
    """The JSON schema of a recipe; editors complete and check YAML with it."""
    return json_schema(Recipe)
