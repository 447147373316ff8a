"""Packages that bring parts of their own: which one a part comes from, and whether it is installed."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Mapping

__all__ = ["lacking", "package_of", "packages_of"]


def packages_of(parts: Iterable[object]) -> dict[str, str]:
    """The packages that define the class of a part, and their versions; without polysense and what it needs itself."""
    modules = {type(part).__module__.partition(".")[0] for part in parts}
    used = [package for package in map(package_of, sorted(modules)) if package is not None]
    return {package.name: package.version for package in used}


def package_of(module: str) -> importlib.metadata.Distribution | None:
    """The installed package with an entry point in a group `polysense.*` whose top module this is, or holds it."""
    installed, top = importlib.metadata.entry_points(), module.partition(".")[0]
    for group in installed.groups:
        if group.startswith("polysense."):
            for point in installed.select(group=group):
                if point.module.partition(".")[0] == top and point.dist is not None:
                    return point.dist
    return None


def lacking(packages: Mapping[str, str]) -> list[str]:
    """Those of some packages that are not installed, with their versions."""
    result = []
    for name, version in packages.items():
        try:
            importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            result.append(f"{name} {version}")
    return result
