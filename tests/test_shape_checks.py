"""What the tests' own shape checks see: a name is one size throughout a call, also of what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import pytest
import torch
from jaxtyping import Float
from shape_checks import checked
from torch import Tensor

Rows: TypeAlias = Float[Tensor, "rows width"] | None


def sums(values: Rows, weights: Sequence[Float[Tensor, " width"]]) -> Float[Tensor, " rows"]:
    return values.sum(dim=1) if len(weights) == 1 else values.sum(dim=0)


def plain(values: Tensor, name: str) -> Tensor:
    return values


def sized(num_rows: int) -> Float[Tensor, "{num_rows} 2"]:
    return torch.zeros(num_rows if num_rows < 5 else 1, 2)


class Holder:
    def __init__(self, values: Tensor) -> None:
        self.values = values

    @checked
    @property
    def row(self) -> Float[Tensor, " width"]:
        return self.values

    @checked
    @classmethod
    def of(cls, values: Float[Tensor, " width"]) -> Holder:
        return cls(values)


@checked
@dataclass
class Pair:
    first: Float[Tensor, " width"]
    second: Float[Tensor, " width"]


@dataclass
class Triple(Pair):
    third: str


def test_an_argument_and_what_comes_back_are_checked_by_alias_and_in_sequences() -> None:
    call = checked(sums)
    assert call(torch.ones(3, 2), [torch.ones(2)]).tolist() == [2, 2, 2]
    for arguments in (
        (torch.ones(3), [torch.ones(2)]),
        (torch.ones(3, 2), [torch.ones(4)]),
        (torch.ones(3, 2, dtype=torch.int64), [torch.ones(2)]),
        (torch.ones(3, 2), [torch.ones(2), torch.ones(2)]),  # gives two sums of three rows
    ):
        with pytest.raises(TypeError, match="violates type hint"):
            call(*arguments)


def test_a_size_that_is_an_argument_is_looked_up() -> None:
    call = checked(sized)
    assert len(call(4)) == 4
    with pytest.raises(TypeError):
        call(6)


def test_properties_methods_of_classes_and_data_classes_are_checked() -> None:
    assert Holder.of(torch.ones(2)).row.tolist() == [1, 1]
    with pytest.raises(TypeError):
        Holder.of(torch.ones(2, 2))
    with pytest.raises(TypeError):
        _ = Holder(torch.ones(2, 2)).row
    Pair(torch.ones(2), torch.ones(2))
    with pytest.raises(TypeError):
        Pair(torch.ones(2), torch.ones(3))
    checked(Triple)
    with pytest.raises(TypeError):
        Triple(torch.ones(2), torch.ones(3), "c")


def test_what_has_no_shape_stays_as_it_is() -> None:
    assert checked(plain) is plain
