"""A result as files: a page for people, and its figures for scripts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from polysense.core.files import named_path, write_text
from polysense.core.json import json_text
from polysense.data.tables.frame_file import naming

__all__ = ["write_page"]


def write_page(
    path: Path | str, name: str, page: Callable[[], str], figures: Callable[[], Mapping[str, Any]]
) -> list[Path]:
    """Writes a page (.html), the figures (.json), or into a folder both.

    Args:
        path: Of the file, or of the folder.
        name: Of the files in a folder.
        page: Renders the page, where it is asked for.
        figures: For a script.

    Returns:
        What was written.

    Raises:
        TableError: A file can't be written.
    """
    path = named_path(path)
    is_file = path.suffix.lower() in (".html", ".json")
    files = [path] if is_file else [path / f"{name}.html", path / f"{name}.json"]
    for file in files:
        content = page() if file.suffix.lower() == ".html" else json_text(figures(), indent=1) + "\n"
        with naming(file):
            write_text(file, content)
    return files
