"""The catalogue is made from the code, explains every parameter, and the documentation's copy is up to date."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from polysense.config import base
from polysense.workflows.catalogue import FAMILIES, FamilyInfo, components

ROOT = Path(__file__).parents[2]


def test_the_documentation_is_up_to_date() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "make_catalogue.py"))["markdown"]()
    assert (ROOT / "docs" / "catalogue.md").read_text(encoding="utf-8") == made, "run: python scripts/make_catalogue.py"


def test_every_family_is_listed() -> None:
    ours = {
        name
        for name, known in base._families.items()
        if any(member.__module__.startswith("polysense.") for member in known.values())  # not those of other tests
    }
    assert {one.key for one in FAMILIES} == ours


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_everything_explains_itself(family: FamilyInfo) -> None:
    for one in components(family):
        if one.package is not None:
            continue
        assert one.summary.endswith("."), f"{family.key} {one.name} has no one-line summary"
        if family.name in ("encoders", "heads"):
            assert one.serves, f"{family.key} {one.name} does not say what it serves"
        for parameter in one.parameters:
            assert parameter.text, f"{family.key} {one.name}: nothing says what {parameter.name} means"


def test_the_tables_of_backbones_are_up_to_date() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "make_backbones.py"))
    page = (ROOT / "docs" / "pretrained.md").read_text(encoding="utf-8")
    assert page == script["with_tables"](page), "run: python scripts/make_backbones.py"
    assert page.count("| Apache-2.0 |") > 10
