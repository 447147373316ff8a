"""What was learned of a target that is one number or several."""

from __future__ import annotations

from dataclasses import dataclass

from polysense.core.schema import Target

__all__ = ["RegressionTarget"]


@dataclass(frozen=True, kw_only=True)
class RegressionTarget(Target):
    """One number for each target column, predicted in the table's own units.

    Attributes:
        mean: Per target column, the training mean.
        std: Per target column, the training standard deviation.
        units: Per target column, the unit or currency of its cells and of what is predicted; "" if they have none.
    """

    task: str = "regression"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    units: tuple[str, ...] = ()
