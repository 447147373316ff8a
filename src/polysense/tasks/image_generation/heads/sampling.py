"""From noise to images: steps along a velocity, from time 1, or an earlier one, to time 0.

The times are evenly spaced. Euler takes one velocity for each step. Heun (Karras et al., "Elucidating the Design Space
of Diffusion-Based Generative Models", NeurIPS 2022, algorithm 1) takes a second one at the step's end and goes by the
mean of both, but for the last step, which ends where no noise is left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from jaxtyping import Float
from torch import Tensor

__all__ = ["AtTimes", "Solver", "solve"]

Solver: TypeAlias = Literal["euler", "heun"]

AtTimes: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""From images [batch, ...], each at a time of its own [batch], to as many values."""


def solve(
    velocity: AtTimes,
    x: Float[Tensor, "batch ..."],
    times: Float[Tensor, " batch"],
    steps: int,
    solver: Solver,
    held: AtTimes | None = None,
) -> Float[Tensor, "batch ..."]:
    """The images at time 0.

    Args:
        velocity: dx/dt.
        x: Images at the first times.
        times: The first time of each.
        steps: As many velocities are asked for (Euler), or twice as many less one (Heun).
        solver: How a step is taken.
        held: The images with what is known of them at their time in its place; None: nothing is.
    """
    length = (times / steps).view(-1, *(1 for _ in x.shape[1:]))
    for step in range(steps):
        before, after = times * (1 - step / steps), times * (1 - (step + 1) / steps)
        slope = velocity(x, before)
        reached = x - length * slope
        if solver == "heun" and step < steps - 1:
            reached = x - length * 0.5 * (slope + velocity(reached, after))
        x = reached if held is None else held(reached, after)
    return x
