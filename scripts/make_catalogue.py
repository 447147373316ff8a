"""Writes docs/catalogue.md from the code: python scripts/make_catalogue.py"""

from __future__ import annotations

from pathlib import Path

from polysense.workflows.catalogue import FAMILIES, components, plain_type


def markdown() -> str:
    """The documentation's catalogue: what polysense itself has, whatever else is installed."""
    lines = [
        "# Catalogue",
        "",
        "Everything that a recipe names by its `type`, made from the code by `scripts/make_catalogue.py`. "
        "`polysense list` shows the same, with the components of other installed packages.",
    ]
    for family in FAMILIES:
        own = [one for one in components(family) if one.package is None]
        lines += ["", f"## {family.name.capitalize()}", "", f"{family.text} In a recipe: `{family.where}`.", ""]
        served = any(one.serves for one in own)
        lines += ["| type | for | |", "|---|---|---|"] if served else ["| type | |", "|---|---|"]
        for one in own:
            link = f"[`{one.name}`](#{family.key}-{one.name})"
            lines.append(
                f"| {link} | {', '.join(one.serves)} | {_cell(one.summary)} |"
                if served
                else f"| {link} | {_cell(one.summary)} |"
            )
        for one in own:
            lines += ["", f'### <a id="{family.key}-{one.name}"></a>{family.key} `{one.name}`', "", one.summary]
            if one.about:
                lines += ["", *(f"> {_safe(line)}".rstrip() for line in one.about.splitlines())]
            if one.parameters:
                lines += ["", "| key | default | type | meaning |", "|---|---|---|---|"]
            for parameter in one.parameters:
                default = "must be given" if parameter.default is None else f"`{parameter.default}`"
                kind = _cell(f"`{plain_type(parameter.kind)}`")
                lines.append(f"| `{parameter.name}` | {_cell(default)} | {kind} | {_cell(parameter.text)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return _safe(text).replace("|", "\\|").replace("\n", " ")


def _safe(text: str) -> str:
    """`<name>` is no HTML, except in a code span, where it is shown as it is."""
    parts = text.split("`")
    return "`".join(part if i % 2 else part.replace("<", "&lt;") for i, part in enumerate(parts))


if __name__ == "__main__":
    path = Path(__file__).parents[1] / "docs" / "catalogue.md"
    path.write_text(markdown(), encoding="utf-8")
    print(f"wrote {path}")
