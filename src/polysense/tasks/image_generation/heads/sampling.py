"""From noise to images: steps along a velocity, from time 1 to time 0.

The times are evenly spaced. Euler takes one velocity for each step. Heun (Karras et al., "Elucidating the Design Space
of Diffusion-Based Generative Models", NeurIPS 2022, algorithm 1) takes a second one at the step's end and goes by the
mean of both, but for the last step, which ends where no noise is left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from jaxtyping import Float
from torch import Tensor

__all__ = ["Solver", "solve"]

Solver: TypeAlias = Literal["euler", "heun"]


def solve(
    velocity: Callable[[Float[Tensor, batch * image], float], Float[Tensor, batch * image]],
    noise: Float[Tensor, batch * image],
    steps: int,
    solver: Solver,
) -> Float[Tensor, batch * image]:
    """The images at time 0.

    Args:
        velocity: dx/dt at images of one time.
        noise: At time 1.
        steps: As many velocities are asked for (Euler), or twice as many less one (Heun).
        solver: How a step is taken.
    """
    x = noise
    for step in range(steps):
        time, after = 1 - step / steps, 1 - (step + 1) / steps
        slope = velocity(x, time)
        reached = x + (after - time) * slope
        if solver == "heun" and step < steps - 1:
            reached = x + (after - time) * 0.5 * (slope + velocity(reached, after))
        x = reached
    return x
