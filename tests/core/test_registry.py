import importlib.metadata
from dataclasses import dataclass

import pytest

from polysense.core.registry import by_name, modality, specs
from polysense.core.unsupported import Unsupported
from polysense.errors import ConfigError


@dataclass(frozen=True)
class Kind:
    name: str = "smell"
    rank: int = 3


def installed(monkeypatch: pytest.MonkeyPatch, value: object) -> None:
    point = importlib.metadata.EntryPoint("smell", "smells.spec:SPEC", "polysense.modality")
    monkeypatch.setattr(importlib.metadata.EntryPoint, "load", lambda self: value)
    monkeypatch.setattr("polysense.core.registry.entry_points", lambda group: [point])


def test_an_installed_package_brings_a_spec_or_its_class(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, Kind)
    assert specs("modality", "polysense.core", Kind) == [Kind()]
    installed(monkeypatch, Kind(rank=1))
    assert specs("modality", "polysense.core", Kind) == [Kind(rank=1)]


def test_what_is_no_spec_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, 7)
    with pytest.raises(ConfigError, match=r"smells\.spec:SPEC of the package \?: found int, expected a Kind"):
        specs("modality", "polysense.core", Kind)


def test_the_order_is_stated_and_names_are_unique() -> None:
    assert list(by_name([Kind("b", 2), Kind("c", 1), Kind("a", 2)], "modality")) == ["c", "a", "b"]
    with pytest.raises(ConfigError, match="'b'"):
        by_name([Kind("b", 2), Kind("b", 1)], "modality")


def test_an_unknown_modality() -> None:
    with pytest.raises(ConfigError, match="there is no modality 'smell'"):
        modality("smell")


def test_a_refusal_reads_as_its_reason() -> None:
    assert f"can't be reconstructed: {Unsupported('its values are hashed')}".endswith(": its values are hashed")
