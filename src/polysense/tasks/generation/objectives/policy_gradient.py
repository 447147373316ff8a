"""Policy gradient: texts that the model writes itself, and more of those that a reward finds better than others.

For each row some texts are sampled, and the gradient of their log probability is weighted by their advantage:

* scst: the reward less that of the greedy text (Rennie et al., "Self-critical Sequence Training for Image Captioning",
  2017, equation 8), so that what is learned is to sample what prediction would write better;
* rloo: less the mean of the row's other samples (Ahmadian et al., "Back to Basics: Revisiting REINFORCE-Style
  Optimization for Learning from Human Feedback in LLMs", 2024, section 3.2), unbiased, and without a greedy pass;
* grpo: less the mean of all of them, over their standard deviation, with the loss per token and the KL divergence in
  the loss (Shao et al., "DeepSeekMath", 2024, equations 3 and 4). One step is taken for each sample, so the ratio to
  the policy that sampled is 1 and its clipping has nothing to clip.

What keeps the model near to the reference is the KL divergence: in scst and rloo as part of the reward,
r - kl (log p - log p_ref). A reward says only a part of what is wanted, and whatever it leaves out is paid for it; so
the reward, the KL divergence, lengths and variety are logged, and training stops where the reward still grows while the
validation metric falls.

The sampled tokens are a function of (seed, epoch, row), as all that is drawn.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from polysense.config.limits import NonNegativeFloat, PositiveFloat, PositiveInt
from polysense.core.batch import Batch
from polysense.core.pytree import map_tensors
from polysense.core.rows import RowContext, RowLoss
from polysense.core.task_spec import TargetReader
from polysense.core.tokens import Fused
from polysense.errors import ConfigError
from polysense.nn.decoding.greedy import GreedyConfig
from polysense.nn.decoding.sample import SamplingConfig
from polysense.nn.head import Head
from polysense.nn.objectives.base import Beginning, Blueprint, Objective, ObjectiveConfig, TrainingState
from polysense.tasks.generation.heads.autoregressive import TokenHead, WritingHead
from polysense.tasks.generation.objectives.policy import Policy, ReferenceKind, evaluating, find_target
from polysense.tasks.generation.record import GenerationTarget
from polysense.tasks.generation.rewards.base import Reward, RewardConfig
from polysense.tasks.generation.rewards.text_metric import TextMetricConfig
from polysense.tasks.generation.truth import GenerationTruth

__all__ = ["Algorithm", "PolicyGradient", "PolicyGradientConfig", "advantages"]

Algorithm: TypeAlias = Literal["scst", "rloo", "grpo"]

_KEY_BITS = (1 << 62) - 1  # a row's number is never below 0
_LEAST_DEVIATION = 1e-4

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class PolicyGradientConfig(ObjectiveConfig):
    """Reinforcement learning of a generated text from a reward (SCST, RLOO, GRPO).

    Attributes:
        weight: Weight of the loss; the true texts' cross entropy has that of the head, and 0 is common there.
        target: The generated text; null if there is only one.
        algorithm: What a reward is compared with: "scst": that of the greedy text. "rloo": those of the row's other
            samples. "grpo": likewise, divided by their standard deviation.
        reward: What a text is worth.
        num_samples: Texts that are sampled for each row.
        temperature: Of the sampling.
        max_new_tokens: The longest text that is sampled; auto is the longest training text.
        kl: Weight of the KL divergence from the reference.
        reference: As of `preference`.
        patience: Training stops after so many validations in which the reward was above, and the metric that is
            monitored below, what they were in the best epoch; null never stops for that.
    """

    type: Literal["policy_gradient"] = "policy_gradient"
    target: str | None = None
    algorithm: Algorithm = "rloo"
    reward: RewardConfig = field(default_factory=TextMetricConfig)
    num_samples: PositiveInt = 4
    temperature: PositiveFloat = 1.0
    max_new_tokens: PositiveInt | Literal["auto"] = "auto"
    kl: NonNegativeFloat = 0.05
    reference: ReferenceKind = "auto"
    patience: PositiveInt | None = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.algorithm != "scst" and self.num_samples < 2:
            raise ConfigError(
                f"num_samples: {self.algorithm} compares a row's samples with one another, so expected at least 2; "
                f"found {self.num_samples}"
            )
        if self.reference == "none" and self.kl:
            raise ConfigError(f"kl: without a reference there is nothing to be near to; set kl to 0 (found {self.kl})")

    def build(self, blueprint: Blueprint) -> PolicyGradient:
        """Builds the objective.

        Raises:
            ConfigError: There is no such generated text, or its head does not write token by token.
        """
        name = find_target("policy_gradient", self.target, blueprint)
        target = GenerationTarget.of(blueprint.schema.target(name))
        if target.answers:
            raise ConfigError(
                f"policy_gradient: target {name!r} has a closed set of answers, of which none is sampled with the "
                "probability that its tokens have; leave data.targets."
                f"{name}.answers out, or take preference, which samples nothing"
            )
        return PolicyGradient(self, target)


class PolicyGradient(Objective):
    """What is sampled, what it is worth and what is learned from it."""

    watches_start: ClassVar[bool] = True

    def __init__(self, config: PolicyGradientConfig, target: GenerationTarget) -> None:
        super().__init__()
        self.config, self.target = config, target
        self.policy = Policy("policy_gradient", target.name, config.reference)
        limit = config.max_new_tokens
        self._sampling = SamplingConfig(
            temperature=config.temperature, num_texts=config.num_samples, max_new_tokens=limit
        ).build(target)
        self._greedy = GreedyConfig(max_new_tokens=limit).build(target)
        self._reader: TargetReader | None = None
        self._reward: Reward | None = None

    @property
    def weights(self) -> Mapping[str, float]:
        logged = ["reward", "length", "unique", "diversity"]
        logged += ["kl"] if self.policy.has_reference else []
        logged += ["greedy_reward"] if self.config.algorithm == "scst" else []
        return {"loss": self.config.weight, **dict.fromkeys(logged, 0.0)}

    @property
    def rewards(self) -> Mapping[str, int]:
        return {} if self.config.patience is None else {"reward": self.config.patience}

    def begin(self, beginning: Beginning) -> None:
        self.policy.begin(beginning)
        self._reader = beginning.readers[self.target.name]
        self._reward = self.config.reward.build(beginning, self._reader)

    def forward(self, state: TrainingState) -> dict[str, RowLoss]:
        """Each row's loss; beside it, for the log, what its samples are worth and how they are.

        Nothing is said outside of training: the rows may then be another table's, whose references are not these, and
        a validation metric says what a sampled reward only estimates.
        """
        if not self.training:
            nothing = state.fused.pooled.sum(dim=1) * 0.0
            counts = self.count(state.batch, state.heads)
            return {name: RowLoss(nothing, counts[name]) for name in self.weights}
        config, k, batch = self.config, self.config.num_samples, state.batch
        head = self.policy.head(state)
        if not isinstance(head, TokenHead):
            raise ConfigError(
                f"policy_gradient: the head of {self.target.name!r} does not write token by token, so there is no "
                "probability of what it samples; take another head, or the objective preference"
            )
        fused, context = self.policy.view(state)
        real = batch.rows >= 0
        rows = torch.where(real, context.keys & _KEY_BITS, torch.full_like(batch.rows, -1))
        with torch.no_grad(), evaluating(head):
            limit = self._sampling.max_new_tokens
            sampled = self._sampling.write(head.decoder(fused, context, limit), rows).ids
            greedy = None
            if config.algorithm == "scst":
                greedy = self._greedy.write(head.decoder(fused, context, limit), rows).ids
        texts = self._truth(sampled.flatten(0, 1), real.repeat_interleave(k))
        with evaluating(head):
            own = self._log_probabilities(head, _repeated(fused, k), _repeated(context, k), texts)

        def ask(other: WritingHead[Any], seen: Fused, of_rows: RowContext) -> Float[Tensor, "texts length"]:
            assert isinstance(other, TokenHead)
            return self._log_probabilities(other, _repeated(seen, k), _repeated(of_rows, k), texts)

        reference = self.policy.of_reference(state, ask) if self.policy.has_reference else None
        worth, spelled = self._worth(sampled, batch.rows)
        known = worth.isfinite().all(dim=1)
        worth = worth.nan_to_num(nan=0.0)
        baseline = None if greedy is None else self._worth(greedy, batch.rows)[0].nan_to_num(nan=0.0)
        lengths = (texts.lengths - 1).clamp(min=1).view(-1, k)
        # [texts], the estimate whose mean is the divergence of the distributions of whole texts.
        apart = None if reference is None else (own.detach() - reference).sum(dim=1).view(-1, k)
        if config.algorithm == "grpo":
            losses = -(advantages(worth, "grpo") * own.sum(dim=1).view(-1, k) / lengths).mean(dim=1)
            if reference is not None and config.kl:
                ratio = reference - own
                per_text = (ratio.exp() - ratio - 1).sum(dim=1).view(-1, k)  # never below 0, and 0 where both are equal
                losses = losses + config.kl * (per_text / lengths).mean(dim=1)
        else:
            shaped = worth if apart is None else worth - config.kl * apart
            losses = -(advantages(shaped, config.algorithm, baseline) * own.sum(dim=1).view(-1, k)).mean(dim=1)
        values = {
            "loss": torch.where(known, losses, losses * 0.0),
            "reward": worth.mean(dim=1),
            "length": lengths.float().mean(dim=1),
            "unique": _unique(spelled, real),
            "diversity": _diversity(sampled, self.target.padding_id),
        }
        if apart is not None:
            values["kl"] = apart.mean(dim=1)
        if baseline is not None:
            values["greedy_reward"] = baseline[:, 0]
        counts = self.count(batch, state.heads)
        return {name: RowLoss(value * real, counts[name]) for name, value in values.items()}

    def count(self, batch: Batch, heads: Mapping[str, Head[object]]) -> dict[str, Float[Tensor, " batch"]]:
        judged = batch.rows >= 0
        if self._reward is not None and self._reward.needs_references:
            truth = heads[self.target.name].truth(batch)
            judged = judged & truth.present if truth is not None else judged & False
        return dict.fromkeys(self.weights, judged.float())

    def _truth(self, ids: Int[Tensor, "texts length"], real: Tensor) -> GenerationTruth:
        """Sampled texts as if they were true ones."""
        begin = torch.full_like(ids[:, :1], self.target.begin_id)
        lengths = 1 + (ids != self.target.padding_id).sum(dim=1)
        values = torch.cat([begin, ids], dim=1)
        if values.shape[1] < 3:  # heads read what is between the first token and the last one
            values = torch.cat([values, torch.full_like(begin, self.target.padding_id)], dim=1)
        return GenerationTruth(values=values, lengths=lengths, present=real)

    def _log_probabilities(
        self, head: TokenHead, fused: Fused, context: RowContext, texts: GenerationTruth
    ) -> Float[Tensor, "texts length"]:
        """Each token's, after those before it, as it was sampled; 0 in the padding."""
        logits, expected = head.read(fused, context, texts).logits, head.expected(texts)
        assert logits is not None
        logits = logits.float() / self.config.temperature
        never = torch.tensor(self.target.never_generated, device=logits.device)
        logits = logits.index_fill(2, never[never < logits.shape[2]], -math.inf)
        padding = expected == self.target.padding_id
        chosen = logits.log_softmax(dim=2).gather(2, expected.masked_fill(padding, self.target.end_id)[:, :, None])
        return chosen[:, :, 0].masked_fill(padding, 0.0)

    def _worth(
        self, ids: Int[Tensor, "batch texts length"], rows: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch texts"], list[list[str]]]:
        """What each text is worth, NaN where nothing can be said, and the texts; none of a row that fills the shape."""
        assert self._reward is not None, "the objective was not told of the training"
        assert self._reader is not None
        numbers, tokens = rows.tolist(), ids.cpu().numpy()
        spelled = [
            [str(self._reader.spell(text)) for text in texts] if row >= 0 else []
            for row, texts in zip(numbers, tokens, strict=True)
        ]
        of_rows = [row for row, texts in zip(numbers, spelled, strict=True) for _ in texts]
        worth = self._reward([text for texts in spelled for text in texts], of_rows) if of_rows else np.zeros(0)
        result = torch.full(ids.shape[:2], math.nan)
        result[rows.cpu() >= 0] = torch.from_numpy(worth).float().view(-1, ids.shape[1])
        return result.to(ids.device), spelled


def advantages(
    rewards: Float[Tensor, "batch samples"],
    algorithm: Algorithm,
    baseline: Float[Tensor, "batch 1"] | None = None,
) -> Float[Tensor, "batch samples"]:
    """How much better each sample is than what it is compared with; see the module.

    Args:
        rewards: Of a row's samples.
        algorithm: Says what it is compared with.
        baseline: The reward of the greedy text, where it is that.
    """
    if algorithm == "scst":
        assert baseline is not None, "scst compares with the greedy text"
        return rewards - baseline
    samples = rewards.shape[1]
    centered = rewards - rewards.mean(dim=1, keepdim=True)
    if algorithm == "rloo":
        return centered * samples / (samples - 1)  # less the mean of the others
    return centered / (rewards.std(dim=1, keepdim=True) + _LEAST_DEVIATION)


def _unique(spelled: Sequence[Sequence[str]], real: Tensor) -> Float[Tensor, " batch"]:
    """Whose mean over the batch is the share of its texts that are distinct."""
    times = Counter(text for texts in spelled for text in texts)
    shares = [sum(1 / times[text] for text in texts) / max(len(texts), 1) for texts in spelled]
    return torch.tensor(shares, device=real.device)


def _diversity(ids: Int[Tensor, "batch texts length"], padding_id: int) -> Float[Tensor, " batch"]:
    """The share of all pairs of neighboring tokens in a row's samples that are distinct."""
    shares = []
    for texts in ids.cpu().numpy():
        pairs = [pair for text in texts for pair in _pairs(text[text != padding_id])]
        shares.append(len(set(pairs)) / len(pairs) if pairs else 1.0)
    return torch.tensor(shares, device=ids.device)


def _pairs(text: np.ndarray) -> list[tuple[int, int]]:
    return list(zip(text[:-1].tolist(), text[1:].tolist(), strict=True))


def _repeated(tree: T, times: int) -> T:
    """Each row so many times, one after another."""
    return map_tensors(lambda tensor: tensor.repeat_interleave(times, dim=0) if tensor.dim() else tensor, tree)
