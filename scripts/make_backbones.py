"""Writes the tables of docs/pretrained.md from the code: python scripts/make_backbones.py"""

from __future__ import annotations

from pathlib import Path

from polysense.core.backbones import Backbones
from polysense.core.registry import modalities
from polysense.core.unsupported import Unsupported
from polysense.tasks.generation.language_models import language_models_for

BEGIN, END = "<!-- made by scripts/make_backbones.py -->", "<!-- made until here -->"
PAGE = Path(__file__).parents[1] / "docs" / "pretrained.md"


def tables() -> str:
    """A table of each modality's well-known backbones, and of the language models that generate, the best first."""
    named: list[tuple[str, Backbones]] = []
    for name, spec in modalities().items():
        backbones = spec.backbones(())
        if isinstance(backbones, Unsupported) or (spec.item_modality != name and spec.item_modality in modalities()):
            continue
        named.append((spec.nouns[1].capitalize(), backbones))
    named.append(("Generated texts", language_models_for()))
    lines: list[str] = []
    for title, backbones in named:
        lines += ["", f"### {title}", ""]
        lines += ["| model | license | parameters | download | for | one CPU core |", "|---|---|---|---|---|---|"]
        for each in backbones.known:
            size = f"{each.parameters:g} M | {each.megabytes:,} MB"
            speed = each.speed or "not measured"
            lines.append(f"| `{each.name}` | {each.license} | {size} | {each.purpose} | {speed} |")
    return "\n".join(lines).strip("\n")


def with_tables(page: str) -> str:
    """The page with its tables as the code has them."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {PAGE}")
