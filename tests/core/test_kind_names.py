from __future__ import annotations

from polysense.core.kind_names import kind_names
from polysense.core.registry import modalities, tasks


def test_they_are_those_of_the_registry() -> None:
    assert kind_names("modality") == tuple(sorted(modalities()))
    assert kind_names("task") == tuple(sorted(tasks()))
