"""The model card: what a bundle is, for whoever finds its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polysense.data.sources import Table
from polysense.evaluation.baselines import MAJORITY, baseline_name
from polysense.evaluation.report import headline_metrics

if TYPE_CHECKING:
    from polysense.workflows.run import Run

__all__ = ["model_card"]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _started_from(report: Mapping[str, Any] | None) -> list[str]:
    """What came from another model, part by part."""
    if report is None:
        return []
    name = Path(report["bundle"]).name
    lines = ["## Started from", "", f"Another model, `{name}`. Its preprocessing came along.", ""]
    for moved in report["moved"]:
        name = "" if moved["from"] == moved["part"] else f" (from `{_cell(moved['from'])}`)"
        held = ", held fixed" if moved["part"] in report["frozen"] else ""
        numbers = f"{moved['tensors']} tensors, {moved['numbers']:,} numbers"
        lines.append(f"- `{_cell(moved['part'])}`{name}: {numbers}{held}")
    lines += [f"- `{_cell(part)}` started anew: {_cell(why)}" for part, why in report["not_moved"].items()]
    return [*lines, ""]


def _imputed(report: Mapping[str, Any] | None) -> list[str]:
    """What an imputer filled, column by column."""
    if report is None:
        return []
    lines = [
        "## Filled cells",
        "",
        "A model of its own, in the folder `imputer`, fills missing cells first, here too.",
        "",
    ]
    lines += [f"- {line}" for line in report["lines"]]
    for split, columns in report["cells"].items():
        counts = ", ".join(f"`{_cell(name)}` {done:,} of {missing:,}" for name, (done, missing) in columns.items())
        lines.append(f"- missing {split} cells that were filled: {counts}")
    return [*lines, ""]


def model_card(run: Run, tables: Mapping[str, Table]) -> str:
    """The bundle's README.md, in the sections of Mitchell et al., "Model Cards for Model Reporting", 2019."""
    schema = run.bundle.schema
    targets = ", ".join(f"`{target.name}` ({target.task})" for target in schema.targets)
    lines = [
        "# Model card",
        "",
        f"A polysense model that predicts {targets} from {len(schema.columns)} column(s). "
        f"{run.bundle.info['parameters']:,} parameters.",
        "",
        "## Use",
        "",
        "```python",
        "import polysense",
        "",
        'model = polysense.load("this/folder")',
        'predictions = model.predict("table.csv").frame',
        "```",
        "",
        "A column that is missing, or a cell that is empty or can't be read, counts as absent; no row is dropped.",
        "",
        "## Inputs",
        "",
        "| column | type | encoder |",
        "| --- | --- | --- |",
    ]
    for column in schema.columns:
        encoder = run.recipe.model.encoders[column.name].type
        lines.append(f"| {_cell(column.name)} | {column.modality} | {encoder} |")
    lines += ["", "## Outputs", ""]
    for target in schema.targets:
        classes = (
            f": {', '.join(target.classes[:30])}{' ...' if len(target.classes) > 30 else ''}" if target.classes else ""
        )
        lines.append(f"- `{target.name}`, {target.task}{classes}")
    rows = ", ".join(f"{len(table):,} {name}" for name, table in tables.items())
    lines += ["", "## Training data", "", f"Rows: {rows}. Table: `{tables['train'].name}`.", ""]
    lines += [*_started_from(run.bundle.info.get("init_from")), *_imputed(run.bundle.info.get("impute"))]
    lines += ["## Evaluation", ""]
    if not run.evaluations:
        lines.append("Not evaluated: there were no validation or test rows.")
    for split, evaluation in run.evaluations.items():
        note = " (these rows also chose the epoch)" if split == "validation" else ""
        lines += [
            f"On {evaluation.num_rows:,} {split} rows{note}, with 95% bootstrap intervals, beside what knows "
            "the training labels alone:",
            "",
            "| target | metric | model | interval | baseline |",
            "| --- | --- | --- | --- | --- |",
        ]
        for target in schema.targets:
            for info in headline_metrics(target, evaluation.texts.get(target.name)):
                found = evaluation.metrics[target.name][info.name]
                base = run.baselines[split][MAJORITY].metrics[target.name][info.name]
                interval = f"{found.low:.4f} to {found.high:.4f}"
                beside = f"{base.value:.4f} ({baseline_name(MAJORITY, target)})"
                row = (_cell(target.name), info.name, f"{found.value:.4f}", interval, beside)
                lines.append(f"| {' | '.join(row)} |")
        lines.append("")
    if run.contributions is not None:
        lines += [f"What each column contributed (Shapley values on {run.contribution_split} rows):", ""]
        lines += [run.contributions.summary_sentence(), ""]
    lines += [
        "## Limits",
        "",
        "Measured on the rows above only: other sources, speakers, cameras or languages were not tested. "
        "Contributions describe this model's use of its columns, not causes.",
        "",
    ]
    return "\n".join(lines)
