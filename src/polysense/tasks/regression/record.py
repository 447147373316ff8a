"""What was learned of a target that is one number or several."""

from __future__ import annotations

from dataclasses import dataclass

from polysense.core.schema import Target
from polysense.tasks.regression.scale import NumberScale

__all__ = ["RegressionTarget"]


@dataclass(frozen=True, kw_only=True)
class RegressionTarget(Target):
    """One number for each target column, predicted in the table's own units.

    Attributes:
        mean: Per target column, the mean of the plausible training values.
        std: Per target column, their standard deviation.
        ranges: Per target column, their 5% and 95% quantiles.
        units: Per target column, the unit or currency of its cells and of what is predicted; "" if they have none.
        scales: Per target column, the units that a head computes in; () = mean and standard deviation.
        interval: The share of rows whose value is to lie in the predicted interval; 0 = none is predicted.
    """

    task: str = "regression"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    ranges: tuple[tuple[float, float], ...] = ()
    units: tuple[str, ...] = ()
    scales: tuple[NumberScale, ...] = ()
    interval: float = 0.0

    def column_scales(self) -> tuple[NumberScale, ...]:
        """Each column's scale."""
        if self.scales:
            return self.scales
        return tuple(NumberScale(center=mean, scale=std) for mean, std in zip(self.mean, self.std, strict=True))
