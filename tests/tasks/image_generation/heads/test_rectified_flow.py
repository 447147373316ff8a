"""Velocities, guidance, and images that are a function of seed and row alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polysense.core.batch import ColumnBatch, ValueTruth
from polysense.core.rows import RowContext
from polysense.core.tokens import Fused, FusedColumn, Tokens
from polysense.errors import ConfigError
from polysense.tasks.image_generation.heads.rectified_flow import RectifiedFlowHead, RectifiedFlowHeadConfig
from polysense.tasks.image_generation.heads.sampling import solve
from polysense.tasks.image_generation.record import CHANGED, FREE, ImageGenerationTarget

WIDTH = 8


def target(size: tuple[int, int] = (7, 6), channels: int = 1) -> ImageGenerationTarget:
    return ImageGenerationTarget(
        name="picture", columns=("picture",), image_size=size, num_channels=channels,
        mean=(0.5,) * channels, std=(0.2,) * channels,
    )  # fmt: skip


def head(of: ImageGenerationTarget | None = None, **options: Any) -> RectifiedFlowHead:
    torch.manual_seed(0)
    options = {"channels": 8, "steps": 3, **options}
    built = RectifiedFlowHeadConfig(**options).build(of or target(), WIDTH)
    for parameter in built.parameters():  # as after some training: nothing is zero
        torch.nn.init.normal_(parameter, std=0.1)
    return built.eval()


def fused(present: list[bool], seed: int = 0, length: int = 3) -> Fused:
    generator = torch.Generator().manual_seed(seed)
    there = torch.tensor(present)
    mask = there[:, None] & (torch.arange(length) < 3)
    values = torch.randn(len(present), length, WIDTH, generator=generator)
    tokens = Tokens(values, mask, (length,)).cleared()
    column = FusedColumn(tokens, tokens.mean(), there, there[:, None].long())
    return Fused(torch.randn(len(present), WIDTH, generator=generator), {"note": column})


def context(rows: list[int]) -> RowContext:
    return RowContext(torch.tensor(rows), torch.tensor(rows))


def images_of(made: RectifiedFlowHead, read: Fused, rows: list[int]) -> Tensor:
    with torch.inference_mode():
        return made.predict(read, context(rows))["values"]


@pytest.mark.parametrize("network", ["unet", "dit"])
@pytest.mark.parametrize("time", [0.0, 0.3, 1.0])
def test_before_training_the_velocity_is_that_of_normal_pixels(time: float, network: Any) -> None:
    """Of x = (1 - t) x_0 + t e with standard normal x_0 and e, E[e - x_0 | x], by least squares over many draws."""
    fresh = (
        RectifiedFlowHeadConfig(channels=8, network=network, num_layers=1, predicts="velocity")
        .build(target(), WIDTH)
        .eval()
    )
    generator = torch.Generator().manual_seed(1)
    image, noise = torch.randn(2, 64, 1, 7, 6, generator=generator, dtype=torch.float64).float()
    x = (1 - time) * image + time * noise
    with torch.inference_mode():
        velocity = fresh.velocity(x, torch.full((64,), time), fresh.condition(fused([True] * 64)))
    slope = float((x * (noise - image)).sum() / (x * x).sum())
    assert torch.allclose(velocity / x, torch.full_like(x, slope), atol=0.06)


@pytest.mark.parametrize(("predicts", "share"), [("velocity", 1 / 20), ("image", 1 / 5)])
def test_the_velocity_of_a_known_normal_distribution_is_learned(predicts: Any, share: float) -> None:
    """Pixels of mean m and deviation s have the velocity ((t - (1 - t) s^2) (x - (1 - t) m) / d) - m with
    d = (1 - t)^2 s^2 + t^2. An image's error is divided by the time, so it is larger near the image."""
    torch.manual_seed(0)
    config = RectifiedFlowHeadConfig(channels=8, dropout=0.0, times="uniform", predicts=predicts)
    flow = config.build(target((4, 4)), WIDTH).train()
    mean, deviation = torch.linspace(-1, 1, 16).view(1, 4, 4), 0.4
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 120)
    read, generator = fused([False] * 64), torch.Generator().manual_seed(0)
    for step in range(120):
        image = mean + deviation * torch.randn(64, 1, 4, 4, generator=generator)
        values = (image * flow.std + flow.mean) * 255  # not rounded: the distribution is to be exact
        truth = ValueTruth(present=torch.ones(64, dtype=torch.bool), values=values)
        optimizer.zero_grad()
        loss = flow.read(read, context(list(range(64 * step, 64 * step + 64))), truth).values.mean()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    flow.eval()
    for time in (0.2, 0.5, 0.8):
        noise = torch.randn(64, 1, 4, 4, generator=generator)
        x = (1 - time) * (mean + deviation * torch.randn(64, 1, 4, 4, generator=generator)) + time * noise
        variance = (1 - time) ** 2 * deviation**2 + time**2
        exact = (time - (1 - time) * deviation**2) * (x - (1 - time) * mean) / variance - mean
        with torch.inference_mode():
            learned = flow.velocity(x, torch.full((64,), time), flow.condition(read))
        bound = share if time < 0.5 else 1 / 20
        assert (learned - exact).square().mean() < exact.square().mean() * bound


def test_a_predicted_image_lies_within_black_and_white_and_gives_the_velocity() -> None:
    """Of one image, x = (1 - t) m + t e has the velocity (x - m) / t, at every time, and m is reached at once."""
    flow = RectifiedFlowHeadConfig(channels=8, predicts="image").build(target(), WIDTH).eval()
    x, condition = (
        torch.randn(3, 1, 7, 6, generator=torch.Generator().manual_seed(0)),
        flow.condition(fused([True] * 3)),
    )
    with torch.inference_mode():
        for time in (1.0, 0.3, 1e-3):
            velocity = flow.velocity(x, torch.full((3,), time), condition)
            assert torch.allclose(x - time * velocity, torch.zeros_like(x), atol=1e-5), "the mean, before training"
        assert flow.velocity(x, torch.zeros(3), condition).isfinite().all()
        wild = head(predicts="image")
        for parameter in wild.parameters():
            torch.nn.init.normal_(parameter, std=10.0)
        pixels = (x - wild.velocity(x, torch.ones(3), wild.condition(fused([True] * 3)))) * wild.std + wild.mean
    assert -0.0101 <= pixels.min() < 0
    assert 1 < pixels.max() <= 1.0101


def test_guidance_of_one_is_the_columns_own_velocity_and_of_zero_that_of_nothing() -> None:
    read, none = fused([True] * 4), fused([False] * 4)
    one = head(guidance=1.0, solver="heun")
    images = images_of(one, read, [0, 1, 2, 3])
    with torch.inference_mode():
        condition = one.condition(read)
        noise = one._noise(torch.arange(4), "noise 0")
        x = solve(lambda x, t: one.velocity(x, t, condition), noise, torch.ones(4), 3, "heun")
    exact = ((x * one.std + one.mean) * 255).round().clamp(0, 255).to(torch.uint8)
    assert torch.equal(images, exact)
    nearly = images_of(head(guidance=1 + 1e-7, solver="heun"), read, [0, 1, 2, 3])
    assert (nearly.int() - images.int()).abs().max() <= 1
    assert torch.equal(
        images_of(head(guidance=0.0, solver="heun"), read, [0, 1, 2, 3]), images_of(one, none, [0, 1, 2, 3])
    )


@settings(max_examples=4)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=3, unique=True), st.integers(0, 3))
def test_an_image_is_a_function_of_seed_and_row(rows: list[int], seed: int) -> None:
    made, everything = head(seed=seed), fused([True] * 51)

    def part(which: list[int], length: int) -> Fused:
        chosen, column = torch.tensor(which), everything.columns["note"]
        values = torch.nn.functional.pad(column.tokens.values[chosen], (0, 0, 0, length - 3))
        tokens = Tokens(values, torch.nn.functional.pad(column.tokens.mask[chosen], (0, length - 3)), (length,))
        there = column.present[chosen]
        own = FusedColumn(tokens, tokens.mean(), there, there[:, None].long())
        return Fused(everything.pooled[chosen], {"note": own})

    together = images_of(made, part(rows, 5), rows)
    for index, row in enumerate(rows):
        alone = images_of(made, part([row], 3), [row])[0]
        # Batches of other shapes round otherwise; in the blocks of a bundle they have one shape.
        assert (alone.int() - together[index].int()).abs().max() <= 1
    assert not torch.equal(together[:1], images_of(head(seed=seed + 1), part(rows, 5), rows)[:1])


@pytest.mark.parametrize("network", ["unet", "dit"])
def test_columns_change_the_image_and_missing_ones_do_not(network: str) -> None:
    made = head(network=network)
    first, second = (images_of(made, fused([True, False], seed), [0, 1]) for seed in (0, 1))
    assert not torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def started(rows: list[int], starts: list[Tensor]) -> RowContext:
    """Rows with start images, as a batch has them: padded, and one may be missing."""
    values = torch.full((len(rows), 1, 48), FREE, dtype=torch.int32)
    for row, start in enumerate(starts):
        values[row, 0, : start.numel()] = start.flatten()
    prompt = ColumnBatch(values=values, lengths=torch.tensor([[start.numel()] for start in starts]))
    return RowContext(torch.tensor(rows), torch.tensor(rows), inputs={"prompt": prompt})


def test_start_images_are_kept_where_a_mask_says_so_and_changed_by_their_strength() -> None:
    read, rows = fused([True] * 3), [0, 1, 2]
    image = torch.randint(0, 256, (1, 7, 6), generator=torch.Generator().manual_seed(0), dtype=torch.int32)
    half = torch.where(torch.arange(7)[None, :, None] < 3, image, FREE)
    starts, whole = [half, image + CHANGED, torch.empty(0)], images_of(head(), read, rows)
    with torch.inference_mode():
        of_strength = {
            strength: head(strength=strength).predict(read, started(rows, starts))["values"]
            for strength in (0.0, 0.1, 1.0)
        }
    for made in of_strength.values():
        assert torch.equal(made[0, :, :3].int(), image[:, :3]), "what is kept is kept to the last value"
        assert torch.equal(made[2], whole[2]), "a row without a start image is not changed by the others'"
    assert torch.equal(of_strength[0.0][1].int(), image)
    assert torch.equal(of_strength[1.0][1], whole[1])
    near, far = ((of_strength[s][1].int() - image).abs().float().mean() for s in (0.1, 1.0))
    assert 0 < near < far


def test_a_row_without_its_image_has_no_loss() -> None:
    made = head().train()
    values = torch.randint(0, 256, (3, 1, 7, 6), dtype=torch.uint8)
    truth = ValueTruth(present=torch.tensor([True, False, True]), values=values)
    output = made.read(fused([True] * 3), context([0, 1, 2]), truth)
    loss = made.loss(output, truth)["loss"]
    assert loss.count.tolist() == [1, 0, 1]
    assert loss.total[1] == 0 < loss.total[0]
    assert made.score(fused([True] * 3), context([0, 1, 2]), truth)["flow_loss"][1].tolist() == [0, 0]


def test_columns_are_dropped_by_row_in_training_alone() -> None:
    values = torch.randint(0, 256, (40, 1, 7, 6), dtype=torch.uint8)
    truth = ValueTruth(present=torch.ones(40, dtype=torch.bool), values=values)

    def same(training: bool) -> int:
        """Rows whose loss does not depend on their columns."""
        made = head(condition_drop=0.5, dropout=0.0).train(training)
        first, second = (made.read(fused([True] * 40, seed), context([*range(40)]), truth).values for seed in (0, 1))
        return int((first == second).sum())

    assert same(training=False) == 0
    assert 10 <= same(training=True) <= 30


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2)])
def test_steps_converge_at_the_solvers_order(solver: Any, order: int) -> None:
    start = torch.tensor([1.0], dtype=torch.float64)
    # dx/dt = x from 1 to 0 ends at 1 / e; Heun's last step is an Euler step, whose error is of the second order.
    errors = [float((solve(lambda x, t: x, start, torch.ones(1), n, solver) - math.exp(-1)).abs()) for n in (20, 40)]
    assert errors[1] < errors[0] / (2**order) * 1.2


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (28, 28), (64, 40)])
@pytest.mark.parametrize(("channels", "network"), [(1, "unet"), (3, "unet"), (3, "dit")])
def test_any_size_of_image(size: tuple[int, int], channels: int, network: str) -> None:
    made = head(target(size, channels), steps=1, network=network, num_layers=1)
    assert images_of(made, fused([True, False]), [4, 5]).shape == (2, channels, *size)


@pytest.mark.parametrize(("options", "words"), [({"channels": 12}, "multiple of 8"), ({"hidden": 8}, "hidden")])
def test_settings_that_it_has_not(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RectifiedFlowHeadConfig(**options)


def test_noise_is_standard_normal() -> None:
    noise = head(target((8, 8), 3))._noise(torch.arange(200), "noise 0").numpy()
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02
    assert abs(np.corrcoef(noise[:, 0].ravel(), noise[:, 1].ravel())[0, 1]) < 0.03
