from __future__ import annotations

from collections.abc import Iterator
from dataclasses import FrozenInstanceError, dataclass
from typing import Any, ClassVar, Literal

import pytest

from polysense.config import base
from polysense.config.base import Config, Family, describe, members
from polysense.config.codec import from_dict
from polysense.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class SauceConfig(Family, family="test_sauce"):
    pass


@dataclass(frozen=True, kw_only=True)
class TomatoConfig(SauceConfig):
    type: Literal["tomato"] = "tomato"
    salt: float = 0.5


@dataclass(frozen=True, kw_only=True)
class BasilConfig(SauceConfig):
    type: Literal["basil"] = "basil"


@dataclass(frozen=True, kw_only=True)
class DishConfig(Config):
    sauce: SauceConfig = TomatoConfig()


@pytest.fixture
def registry() -> Iterator[None]:
    """Takes back what a test registers; what polysense's own modules registered meanwhile is imported only once."""
    before = {name: set(known) for name, known in base._families.items()}
    yield
    for family, known in list(base._families.items()):
        if family not in before and all(member.__module__ == __name__ for member in known.values()):
            del base._families[family]
        for name, member in list(known.items()):
            if member.__module__ == __name__ and name not in before.get(family, ()):
                del known[name]


def test_a_config_is_frozen_and_keyword_only() -> None:
    with pytest.raises(FrozenInstanceError):
        TomatoConfig().salt = 1.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        TomatoConfig("tomato")  # type: ignore[misc]


def test_members_are_registered_by_being_defined_and_sorted() -> None:
    assert list(members("test_sauce").items()) == [("basil", BasilConfig), ("tomato", TomatoConfig)]
    assert members("test_nothing_of_that_name") == {}


@pytest.mark.usefixtures("registry")
def test_two_members_of_one_type_clash() -> None:
    with pytest.raises(ConfigError, match=r"two test_sauces are named 'tomato': .*TomatoConfig and .*Impostor"):

        @dataclass(frozen=True, kw_only=True)
        class Impostor(SauceConfig):
            type: Literal["tomato"] = "tomato"

    assert members("test_sauce")["tomato"] is TomatoConfig


@pytest.mark.usefixtures("registry")
def test_the_same_class_may_be_defined_again() -> None:
    def define() -> type[SauceConfig]:
        @dataclass(frozen=True, kw_only=True)
        class AgainConfig(SauceConfig):
            type: Literal["again"] = "again"

        return AgainConfig

    define()
    second = define()
    assert members("test_sauce")["again"] is second


class Point:
    """An entry point of an imaginary package."""

    name = "pesto"
    value = "imaginary.pesto:PestoConfig"

    class dist:
        name = "polysense-pesto"

    broken: ClassVar[bool] = False

    def load(self) -> type[Family]:
        if self.broken:
            raise ImportError("no module named imaginary")

        @dataclass(frozen=True, kw_only=True)
        class PestoConfig(SauceConfig):
            type: Literal["pesto"] = "pesto"
            nuts: Literal["pine", "cashew"] = "pine"

        return PestoConfig


def entry_points(group: str, point: Any) -> list[Any]:
    return [point] if group == "polysense.test_sauce" else []


@pytest.mark.usefixtures("registry")
def test_a_third_party_member_is_found_through_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polysense.config.base.entry_points", lambda group: entry_points(group, Point()))
    dish = from_dict(DishConfig, {"sauce": {"type": "pesto", "nuts": "cashew"}})
    assert (dish.sauce.type, dish.sauce.nuts) == ("pesto", "cashew")  # type: ignore[attr-defined]


@pytest.mark.usefixtures("registry")
def test_a_broken_third_party_member_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    point = Point()
    monkeypatch.setattr(point, "broken", True, raising=False)
    monkeypatch.setattr("polysense.config.base.entry_points", lambda group: entry_points(group, point))
    with pytest.raises(ConfigError, match=r"'pesto' of the package polysense-pesto .* no module named imaginary"):
        members("test_sauce")


def test_describe_reads_the_docstring() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Documented(Config):
        """A summary: one line.

        More words.

        Attributes:
            width: How wide; a line
                that goes on.

                And on.
            name: What it is called.

        Raises:
            ValueError: Not an attribute.
        """

        width: int = 1
        name: str = "a"

    assert describe(Documented) == (
        "A summary: one line.",
        {"width": "How wide; a line that goes on. And on.", "name": "What it is called."},
    )


def test_describe_of_a_config_without_attributes() -> None:
    summary, texts = describe(BasilConfig)
    assert texts == {}
    assert isinstance(summary, str)


def test_describe_walks_up_to_the_bases_for_inherited_fields() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Cheese(Config):
        """Any cheese.

        Attributes:
            age: In months.
            milk: Whose.
        """

        age: int = 1
        milk: str = "cow"

    @dataclass(frozen=True, kw_only=True)
    class Undocumented(Cheese):
        pass

    @dataclass(frozen=True, kw_only=True)
    class Feta(Undocumented):
        """A brined cheese.

        Attributes:
            milk: A sheep's or a goat's.
            salt: In percent.
        """

        salt: float = 3.0

    assert describe(Feta) == (
        "A brined cheese.",
        {"age": "In months.", "milk": "A sheep's or a goat's.", "salt": "In percent."},
    )
    assert describe(Undocumented)[1] == {"age": "In months.", "milk": "Whose."}
