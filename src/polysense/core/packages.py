"""Packages that bring parts of their own: which one a part comes from, and whether it is installed."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache

__all__ = ["entry_points", "lacking", "package_of", "packages_of"]


def entry_points(group: str) -> tuple[importlib.metadata.EntryPoint, ...]:
    """What the installed packages have in a group. Their files are read once for each path of modules: a recipe asks
    for some sixty families, and with two hundred packages each reading takes 15 ms."""
    return tuple(_installed(tuple(sys.path)).select(group=group))


@lru_cache(maxsize=4)
def _installed(path: tuple[str, ...]) -> importlib.metadata.EntryPoints:
    del path  # that of `importlib.metadata`, too
    read = importlib.metadata.entry_points()  # before Python 3.12 of another type
    return importlib.metadata.EntryPoints(point for group in read.groups for point in read.select(group=group))


def packages_of(parts: Iterable[object]) -> dict[str, str]:
    """The packages that define the class of a part, and their versions; without polysense and what it needs itself."""
    modules = {type(part).__module__.partition(".")[0] for part in parts}
    used = [package for package in map(package_of, sorted(modules)) if package is not None]
    return {package.name: package.version for package in used}


def package_of(module: str) -> importlib.metadata.Distribution | None:
    """The installed package with an entry point in a group `polysense.*` whose top module this is, or holds it."""
    installed, top = _installed(tuple(sys.path)), module.partition(".")[0]
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
