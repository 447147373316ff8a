"""Writes docs/catalogue.md from the code: python scripts/make_catalogue.py"""

from __future__ import annotations

from pathlib import Path

from polysense.workflows.catalogue import markdown

if __name__ == "__main__":
    path = Path(__file__).parents[1] / "docs" / "catalogue.md"
    path.write_text(markdown(), encoding="utf-8")
    print(f"wrote {path}")
