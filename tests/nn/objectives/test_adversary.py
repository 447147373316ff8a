"""The adversary: exact at lambda = 0, and with lambda the columns become alike while the task holds."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.core.batch import Batch
from polysense.core.rows import RowContext, RowLoss
from polysense.core.schema import Schema
from polysense.core.tokens import Fused, Tokens
from polysense.errors import ConfigError
from polysense.modalities.number.record import NumberColumn
from polysense.nn.fusion import Fusion, FusionConfig
from polysense.nn.fusion.bottleneck import BottleneckFusionConfig
from polysense.nn.fusion.concat import ConcatFusionConfig
from polysense.nn.fusion.gated import GatedFusionConfig
from polysense.nn.fusion.transformer import TransformerFusionConfig
from polysense.nn.objectives import Blueprint, TrainingState
from polysense.nn.objectives.adversary import Adversary, AdversaryConfig, reverse_gradient

WIDTH = 16


class Watched(nn.Module):
    """A fusion and its adversary, as the model has them."""

    def __init__(
        self, config: AdversaryConfig, names: str, inner: FusionConfig | None = None, width: int = WIDTH
    ) -> None:
        super().__init__()
        self.fusion: Fusion = (inner or ConcatFusionConfig()).build(names, width)
        schema = Schema(columns=tuple(NumberColumn(name=name, mean=0.0, std=1.0) for name in names), targets=())
        self.adversary: Adversary = config.build(Blueprint(schema, width, {}))

    def forward(self, columns: dict[str, Tokens]) -> tuple[Fused, dict[str, Tensor]]:
        fused = self.fusion(columns)
        return fused, {name: loss.total for name, loss in self.losses(fused).items()}

    def losses(self, fused: Fused) -> dict[str, RowLoss]:
        rows = torch.arange(len(fused.pooled))

        def never(*given: Any) -> Any:
            raise AssertionError

        state = TrainingState(
            batch=Batch(rows=rows, columns={}), truths={}, context=RowContext(rows, rows), tokens={}, fused=fused,
            heads={}, outputs={}, losses={}, encoders={}, encode=never, fuse=never, read=never,
            adapters_off=nullcontext,
        )  # fmt: skip
        losses: dict[str, RowLoss] = self.adversary(state)
        return losses


def tokens(*lengths: int, batch: int = 4) -> dict[str, Tokens]:
    return {
        name: Tokens(
            torch.randn(batch, length, WIDTH, requires_grad=True),
            torch.ones(batch, length, dtype=torch.bool),
            (length,),
        )
        for name, length in zip("abc", lengths, strict=False)
    }


@pytest.mark.parametrize("strength", [0.0, 0.3, 2.0])
def test_reversal_keeps_values_and_multiplies_gradients_by_minus_lambda(strength: float) -> None:
    x = torch.randn(5, 3, requires_grad=True)
    out = reverse_gradient(x, strength)
    assert torch.equal(out, x)
    gradient = torch.randn(5, 3)
    out.backward(gradient)
    assert x.grad is not None
    assert torch.equal(x.grad, gradient * -strength)


def adversary_gradients(strength: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Of the adversary's loss: with respect to all before the discriminator, and to the discriminator."""
    torch.manual_seed(0)
    watched = Watched(AdversaryConfig(strength=strength), "ab").train()
    columns = tokens(3, 4)
    watched(columns)[1]["column"].sum().backward()
    named = [(name, p.grad) for name, p in watched.named_parameters()] + [
        (n, c.values.grad) for n, c in columns.items()
    ]
    reached = {name: gradient for name, gradient in named if gradient is not None and gradient.any()}
    own = {name: gradient for name, gradient in reached.items() if name.startswith("adversary.")}
    return {name: gradient for name, gradient in reached.items() if name not in own}, own


def test_encoders_work_against_the_discriminator_which_learns_at_full_strength() -> None:
    before, own = adversary_gradients(1.0)
    before_thrice, own_thrice = adversary_gradients(3.0)
    assert set(before) == {"a", "b"} | {f"fusion.norms.{i}.{kind}" for i in range(2) for kind in ("weight", "bias")}
    assert set(own) == {
        f"adversary.discriminator.{layer}.{kind}" for layer in ("hidden", "out") for kind in ("weight", "bias")
    }
    for name, gradient in before.items():
        torch.testing.assert_close(before_thrice[name], 3 * gradient)
    for name, gradient in own.items():
        assert torch.equal(gradient, own_thrice[name])


def test_a_step_along_the_encoders_gradient_makes_the_discriminator_worse() -> None:
    torch.manual_seed(0)
    watched = Watched(AdversaryConfig(), "ab").train()
    columns = tokens(3, 4)
    before = watched(columns)[1]["column"].sum()
    before.backward()
    moved = {n: Tokens(c.values.detach() - 0.1 * c.values.grad, c.mask, c.grid) for n, c in columns.items()}
    assert watched(moved)[1]["column"].sum() > before


def test_the_discriminator_sees_what_the_fusion_is_given() -> None:
    torch.manual_seed(0)
    watched = Watched(AdversaryConfig(), "ab").train()
    for norm in watched.fusion.norms:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    seen: list[Tensor] = []
    watched.adversary.discriminator.hidden.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    fused, _ = watched(tokens(3, 4))
    summaries = torch.stack([fused.columns["a"].summary, fused.columns["b"].summary], dim=1)
    assert len(seen) == 2  # for its guesses, and for its steepness
    for given in seen:
        assert torch.equal(given, summaries)


def test_steepness_is_the_squared_norm_of_the_jacobian() -> None:
    torch.manual_seed(0)
    discriminator = Watched(AdversaryConfig(), "abc").adversary.discriminator
    x = torch.randn(2, 3, WIDTH)
    steepness = discriminator.steepness(x)
    for row in range(2):
        for column in range(3):
            jacobian = torch.autograd.functional.jacobian(discriminator, x[row : row + 1, column : column + 1])
            torch.testing.assert_close(steepness[row, column], jacobian.square().sum())


@pytest.mark.parametrize(
    "inner",
    [ConcatFusionConfig(), GatedFusionConfig(), TransformerFusionConfig(), BottleneckFusionConfig()],
    ids=lambda config: config.type,
)
def test_lambda_0_is_bit_identical_to_the_fusion_alone(inner: FusionConfig) -> None:
    """Encoders, fusion and head after three steps in training mode, dropout included."""

    def train(strength: float | None) -> dict[str, Tensor]:
        torch.manual_seed(0)
        encoders = nn.ModuleList([nn.Linear(5, WIDTH), nn.Linear(5, WIDTH)])
        watched = Watched(AdversaryConfig(strength=strength or 0.0), "ab", inner).train()
        head = nn.Linear(WIDTH, 2)  # built after the fusion, as in the model
        parts = nn.ModuleDict({"encoders": encoders, "watched": watched, "head": head})
        optimizer = torch.optim.AdamW(parts.parameters(), lr=1e-2)
        x, labels = torch.randn(8, 2, 3, 5), torch.arange(8) % 2
        mask = torch.ones(8, 3, dtype=torch.bool)
        for _ in range(3):
            fused = watched.fusion({n: Tokens(encoders[i](x[:, i]), mask, (3,)) for i, n in enumerate("ab")})
            loss = F.cross_entropy(head(fused.pooled), labels)
            if strength is not None:
                for name, each in watched.losses(fused).items():
                    loss = loss + watched.adversary.weights[name] * each.total.mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return parts.state_dict()

    plain, watched = train(None), train(0.0)
    for name, value in plain.items():
        assert torch.equal(value, watched[name]) or "discriminator" in name, name


def test_an_absent_column_is_not_guessed() -> None:
    torch.manual_seed(0)
    watched = Watched(AdversaryConfig(), "abc").train()
    columns = tokens(3, 4, 2)
    whole = columns["b"].values
    columns["b"] = columns["b"].masked(torch.tensor([True, False, False, True]))
    columns["a"] = columns["a"].masked(torch.tensor([True, True, False, True]))
    columns["c"] = columns["c"].masked(torch.tensor([True, True, False, True]))
    fused, losses = watched(columns)
    found = torch.stack(list(losses.values()), dim=1)
    assert not found[2].any()
    assert (found[[0, 1, 3]] > 0).all()
    summaries = torch.stack([column.summary for column in fused.columns.values()], dim=1)
    guesses = watched.adversary.discriminator(summaries)[1].log_softmax(-1)
    torch.testing.assert_close(losses["column"][1], -(guesses[0, 0] + guesses[2, 2]) / 2)
    losses["column"].sum().backward()
    gradient = whole.grad
    assert gradient is not None
    assert gradient[0].any()
    assert not gradient[1:3].any()


def test_every_parameter_gets_a_gradient() -> None:
    torch.manual_seed(0)
    watched = Watched(AdversaryConfig(), "ab").train()
    columns = tokens(3, 4)
    columns["b"] = columns["b"].masked(torch.zeros(4, dtype=torch.bool))
    fused, losses = watched(columns)
    (fused.pooled.square().sum() + sum(loss.sum() for loss in losses.values())).backward()
    for name, parameter in watched.named_parameters():
        assert not parameter.requires_grad or parameter.grad is not None, name


@pytest.mark.parametrize("options", [{"strength": -0.1}, {"smoothness": -1.0}, {"hidden": 0}])
def test_settings_without_sense_are_refused(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ConfigError, match=rf"{name}\b.*found"):
        AdversaryConfig(**options)


def rows(num: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two columns of four features; both carry the label in the first, the second says which column it is."""
    labels = torch.randint(0, 2, (num,), generator=generator)
    x = torch.randn(num, 2, 4, generator=generator)
    x[:, :, 0] += 2.5 * (2 * labels - 1)[:, None]
    x[:, :, 1] += torch.tensor([2.0, -2.0])
    return x, labels


def trained(strength: float, num_steps: int = 400) -> tuple[float, float, float]:
    """Trains encoders and task; gives the accuracy of the task, of the discriminator and of a new probe."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    width = 8
    # Encoders that start alike: what differs between the columns is the data's offset.
    encoders = nn.ModuleList([nn.Linear(4, width), nn.Linear(4, width)])
    encoders[1].load_state_dict(encoders[0].state_dict())
    watched = Watched(AdversaryConfig(strength=strength), "ab", ConcatFusionConfig(dropout=0.0), width)
    head = nn.Linear(width, 2)
    parameters = [*encoders.parameters(), *watched.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam([p for p in parameters if p.requires_grad], lr=3e-3)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, total_iters=num_steps)

    def run(x: Tensor) -> Any:
        mask = torch.ones(len(x), 1, dtype=torch.bool)
        return watched.fusion({n: Tokens(encoders[i](x[:, i : i + 1]), mask, (1,)) for i, n in enumerate("ab")})

    for _ in range(num_steps):
        x, labels = rows(64, generator)
        fused = run(x)
        loss = F.cross_entropy(head(fused.pooled), labels)
        for name, each in watched.losses(fused).items():
            loss = loss + watched.adversary.weights[name] * each.total.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()

    with torch.no_grad():
        x, labels = rows(2000, generator)
        fused = run(x)
        task = (head(fused.pooled).argmax(1) == labels).float().mean().item()
        summaries = torch.stack([fused.columns["a"].summary, fused.columns["b"].summary], dim=1)
        which = torch.arange(2).expand(2000, -1)
        discriminator = (watched.adversary.discriminator(summaries).argmax(-1) == which).float().mean().item()
    probe = nn.Sequential(nn.Linear(width, 32), nn.GELU(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(probe.parameters(), lr=1e-2)
    for _ in range(100):
        loss = F.cross_entropy(probe(summaries[:1000]).flatten(0, 1), which[:1000].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    fresh = (probe(summaries[1000:]).argmax(-1) == which[1000:]).float().mean().item()
    return task, discriminator, fresh


def test_columns_stay_apart_under_lambda_0() -> None:
    task, discriminator, fresh = trained(0.0)
    assert task > 0.95
    assert discriminator > 0.98
    assert fresh > 0.98


def test_the_discriminator_falls_to_chance_while_the_task_holds() -> None:
    task, discriminator, fresh = trained(1.0)
    assert task > 0.95
    assert abs(discriminator - 0.5) < 0.1
    # A probe that the encoders never worked against still finds something, but no longer everything.
    assert fresh < 0.95
