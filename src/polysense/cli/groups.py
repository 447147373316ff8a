"""Groups of commands in the help, in the order of their use, and an example of each command."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

__all__ = ["EXAMPLES", "GROUPS", "GroupedHelp", "epilog"]

GROUPS = {
    "Train": ("demo", "check", "new", "convert", "label", "prepare", "shards", "train", "compare"),
    "Use a trained model": ("evaluate", "audit", "predict", "explain", "impute"),
    "Embeddings and search": ("embed", "zeroshot", "fewshot", "map", "index", "search"),
    "Look at runs": ("runs", "report"),
    "Look up": ("list", "schema", "doctor"),
}
"""Command names by title; a command that stands in none comes last."""

EXAMPLES = {
    "demo": "polysense demo -o runs/demo",
    "check": "polysense check products.csv --target category",
    "new": "polysense new products.csv --target category --minimal",
    "convert": "polysense convert coco/ -o photos.jsonl",
    "label": "polysense label products.csv --target mood --classes good,bad",
    "prepare": "polysense prepare products.csv --target category",
    "shards": "polysense shards products.csv -o products.shards",
    "train": "polysense train products.csv --target category --epochs 10",
    "compare": "polysense compare recipe.yaml --over model.fusion.type=concat,gated",
    "evaluate": "polysense evaluate runs/demo test.csv",
    "audit": "polysense audit runs/demo test.csv --full -o audit",
    "predict": "polysense predict runs/demo new.csv -o predictions.csv",
    "explain": "polysense explain runs/demo test.csv --rows 3,17",
    "impute": "polysense impute runs/filler gaps.csv -o filled.csv",
    "embed": "polysense embed runs/demo products.csv -o vectors.parquet",
    "zeroshot": "polysense zeroshot runs/space photos.csv --column photo --classes cat,dog",
    "fewshot": "polysense fewshot runs/space photos.csv --target kind",
    "map": "polysense map runs/space photos.csv --color kind",
    "index": "polysense index runs/space photos.csv -o photos.index",
    "search": 'polysense search photos.index "a red boat"',
    "runs": "polysense runs",
    "report": "polysense report runs/demo",
    "list": "polysense list encoders",
    "schema": "polysense schema > recipe.schema.json",
    "doctor": "polysense doctor",
}
"""By command's name."""


def epilog(command: str) -> str:
    """What stands below a command's help: its example, and what every command knows."""
    example = EXAMPLES.get(command)
    known = "Works with every command, anywhere on the line: -q, -v, --debug."
    return known if example is None else f"Example: {example}\n\n{known}"


class GroupedHelp(TyperGroup):
    """Lists the commands by group."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes a section for each group."""
        grouped = {name for names in GROUPS.values() for name in names}
        others = tuple(name for name in self.list_commands(ctx) if name not in grouped)
        for title, names in {**GROUPS, "Others": others}.items():
            commands = {name: command for name in names if (command := self.get_command(ctx, name)) is not None}
            if not commands:
                continue
            limit = formatter.width - 6 - max(map(len, self.list_commands(ctx)))
            with formatter.section(title):
                formatter.write_dl([(name, command.get_short_help_str(limit)) for name, command in commands.items()])
