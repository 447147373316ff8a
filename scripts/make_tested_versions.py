"""Writes the range of versions that polysense is tested with, for `polysense doctor`.

The lowest is the floor in pyproject.toml, which `make test-oldest` installs; the highest is requirements.lock's, which
was the newest when it was made. Run by `make lock`.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "src" / "polysense" / "cli" / "tested_versions.json"


def floors() -> dict[str, str]:
    """The floor of every package that polysense or one of its extras names, tools for development apart."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for name in sorted(extras) if name != "dev" for line in extras[name])]
    result = {}
    for requirement in map(Requirement, lines):
        name = canonicalize_name(requirement.name)
        if name != "polysense":
            result[name] = next(bound.version for bound in requirement.specifier if bound.operator == ">=")
    return result


def locked() -> dict[str, str]:
    """The highest version that the lock holds of every package; some differ by Python version."""
    result: dict[str, str] = {}
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        if "==" in line and not line.startswith((" ", "#")):
            requirement = Requirement(line.removesuffix("\\"))
            name, version = canonicalize_name(requirement.name), next(iter(requirement.specifier)).version
            result[name] = max(version, result.get(name, version), key=Version)
    return result


def tested_versions() -> dict[str, list[str]]:
    """{package: [lowest, highest]}, sorted by name."""
    highest = locked()
    return {name: [lowest, highest[name]] for name, lowest in sorted(floors().items())}


if __name__ == "__main__":
    OUTPUT.write_text(json.dumps(tested_versions(), indent=2) + "\n", encoding="utf-8")
