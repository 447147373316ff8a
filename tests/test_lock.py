"""The lock holds what pyproject.toml asks for, to the hash of every file, for every Python and platform it names."""

from __future__ import annotations

import json
import re
import runpy
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
ADVICE = "run `make lock` and commit requirements.lock and tested_versions.json"
PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = (
    {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"},
    {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "aarch64"},
    {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"},
)
ENVIRONMENTS = [
    {"python_version": python, "python_full_version": f"{python}.1", "implementation_name": "cpython"} | platform
    for python in PYTHONS
    for platform in PLATFORMS
]


@dataclass(frozen=True)
class Locked:
    """A package of the lock: its requirement with version and marker, its hashes, and whether we ask for it."""

    requirement: Requirement
    hashes: tuple[str, ...]
    is_direct: bool

    @property
    def version(self) -> Version:
        return Version(next(iter(self.requirement.specifier)).version)


def locked(text: str) -> Iterator[Locked]:
    for block in re.split(r"\n(?=[A-Za-z])", text[text.index("\n", text.rindex("make lock")) + 1 :]):
        head, *rest = block.splitlines()
        yield Locked(
            Requirement(head.removesuffix("\\").strip()),
            tuple(re.findall(r"--hash=sha256:[0-9a-f]{64}", block)),
            any("polysense (pyproject.toml)" in line for line in rest),
        )


def requested(pyproject: dict[str, Any]) -> list[Requirement]:
    project = pyproject["project"]
    lines = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    requirements = map(Requirement, lines)
    return [one for one in requirements if canonicalize_name(one.name) != "polysense"]


def disagreements(pyproject: dict[str, Any], text: str) -> list[str]:
    """What of pyproject.toml the lock does not hold, and what it holds beyond."""
    packages = list(locked(text))
    result = []
    for environment in ENVIRONMENTS:
        chosen: dict[str, Version] = {}
        for package in packages:
            marker = package.requirement.marker
            if marker is None or marker.evaluate(environment):
                name = canonicalize_name(package.requirement.name)
                if name in chosen:
                    result.append(f"{name}: two versions for {environment}")
                chosen[name] = package.version
        for requirement in requested(pyproject):
            if requirement.marker is not None and not requirement.marker.evaluate(environment):
                continue
            version = chosen.get(canonicalize_name(requirement.name))
            if version is None or version not in requirement.specifier:
                result.append(f"{requirement}: the lock has {version} for {environment}")
    required_versions = {canonicalize_name(one.name) for one in requested(pyproject)}
    direct = {canonicalize_name(one.requirement.name) for one in packages if one.is_direct}
    return result + [f"{name}: is asked for in one of the two alone" for name in sorted(required_versions ^ direct)]


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def text() -> str:
    return (ROOT / "requirements.lock").read_text()


def test_the_lock_holds_what_pyproject_asks_for(pyproject: dict[str, Any], text: str) -> None:
    assert disagreements(pyproject, text) == [], ADVICE


@pytest.mark.parametrize("change", ["a new package", "a higher floor", "a package less"])
def test_a_disagreement_is_seen(pyproject: dict[str, Any], text: str, change: str) -> None:
    project = pyproject["project"]
    dependencies = list(project["dependencies"])
    match change:
        case "a new package":
            dependencies.append("cowsay>=6")
        case "a higher floor":
            dependencies = [re.sub(r"^polars>=.*", "polars>=99", one) for one in dependencies]
        case _:
            dependencies = [one for one in dependencies if not one.startswith("polars")]
    changed = pyproject | {"project": project | {"dependencies": dependencies}}
    assert disagreements(changed, text)


def test_every_file_has_a_hash_and_no_index_is_named(text: str) -> None:
    packages = list(locked(text))
    assert len(packages) > 50
    for package in packages:
        assert package.hashes, package.requirement
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text


def test_every_direct_requirement_has_a_floor(pyproject: dict[str, Any]) -> None:
    """`make test-oldest` installs the floors; without one it would install the first release ever."""
    for requirement in requested(pyproject):
        assert any(bound.operator == ">=" for bound in requirement.specifier), requirement


def test_pythons_of_the_lock_are_those_that_are_declared(pyproject: dict[str, Any]) -> None:
    declared = {one.split()[-1] for one in pyproject["project"]["classifiers"] if "Python :: 3." in one}
    assert declared == set(PYTHONS)


def test_the_doctor_knows_the_tested_range() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "make_tested_versions.py"))
    assert json.loads(script["OUTPUT"].read_text()) == script["tested_versions"](), ADVICE
