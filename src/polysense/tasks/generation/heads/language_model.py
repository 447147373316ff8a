"""A pretrained causal language model conditioned on the columns: their tokens are a prefix in its embedding space.

What it reads is, in this order: its start token if it has one, the fused summary as a few tokens (which is always
there, so a row with nothing present is written from the learned one), the tokens of all columns through a connector
(see `layers.connectors`), the row's prompt, and then the answer, of which alone it is trained to predict each token.
Where a prompt marks a column's place, the column's tokens stand there instead (see `layers.prefix`).

A language model that knows how to write has little to gain from tokens that mean nothing yet, and with a few hundred
rows it stays so: it writes one text for all. So the summary's tokens also predict, in the language model's own
embeddings, which tokens the text has (`heads.bag_of_tokens`), before the training for some cheap epochs in which the
language model does not run, and beside it from then on. It is the language model
that knows how to write; what is learned is how to tell it what the columns hold (Tsimpoukelli et al., "Multimodal
Few-Shot Learning with Frozen Language Models", 2021; Liu et al., "Visual Instruction Tuning", 2023).

Against the decoder of `generation`, which is trained from scratch, this needs fewer rows to write well, and costs the
language model's size in memory, in time and in every saved model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.config.limits import FractionBelowOne, NonNegativeFloat, NonNegativeInt, PositiveInt
from polysense.core.batch import Truth
from polysense.core.logs import get_logger
from polysense.core.rows import RowContext, RowLoss
from polysense.core.schema import Requirements, Target
from polysense.core.tokens import Fused
from polysense.errors import ConfigError
from polysense.nn.backbone import check_tune
from polysense.nn.decoding import IncrementalDecoder
from polysense.nn.layers.causal_lm import CausalLM, Tuning, add_lora, open_config, open_model, without_lora
from polysense.nn.layers.connectors import Connector, ConnectorKind, SummaryConnector, connector
from polysense.nn.layers.dropout import without_dropout
from polysense.nn.layers.prefix import MOST_ITEMS, Prefix, assemble, order_with_placeholders
from polysense.nn.layers.transformer import sinusoidal
from polysense.nn.pretrained_files import save_settings
from polysense.tasks.generation.heads.autoregressive import TokenHead, TokenOutput, WritingHeadConfig
from polysense.tasks.generation.heads.bag_of_tokens import BagOfTokens
from polysense.tasks.generation.record import GenerationRequirements, GenerationTarget
from polysense.tasks.generation.truth import GenerationTruth

__all__ = ["LanguageModelHead", "LanguageModelHeadConfig"]

_log = get_logger("polysense.nn.heads")

_VECTOR = 16  # float32 numbers
_BAG_SCALE = 3.0  # e^3 = 20 between slots and tokens that agree, where training finds 20 to 30


@dataclass(frozen=True, kw_only=True)
class LanguageModelHeadConfig(WritingHeadConfig):
    """A pretrained causal language model (GPT-2, Llama, Qwen, ...) that is conditioned on the tokens of all columns.

    Attributes:
        hidden: Not used; leave it at 0.
        dropout: Before LoRA's adapters.
        path: A local folder as save_pretrained writes it, tokenizer included, or a hub name.
        weights: "pretrained", or "random" for the architecture only: then the folder needs only its config.json, and
            the tokens are learned from the target.
        tune: What is trained: only the connector ("frozen"), low-rank adapters of its linear layers ("lora", needs the
            extra `adapt`), or all of it ("full"). What leads into it always learns.
        learning_rate_scale: With full tuning, the language model's learning rate over the rest's.
        revision: The hub revision; null = the newest.
        slots: Tokens that the fused summary becomes.
        bag_weight: Weight of the loss by which the slots predict the bag of a text's tokens; 0: none.
        warm_up_epochs: Epochs, before the training, in which what leads into the language model learns to predict the
            bag, without running the language model; few of them where there are many rows.
        connector: How a column's tokens become the language model's: "mlp" one by one; "pixel_shuffle" several
            neighbors as one; "perceiver" a fixed number for each item, however long; "none" not at all, so that the
            slots alone tell of the columns, which costs the least; a place that a prompt marks then stays empty.
        shuffle: With pixel_shuffle, the number of neighboring image tokens along each side that are merged into one;
            for audio and text, its square of consecutive tokens.
        latents: With perceiver, into how many tokens each item goes.
        lora_rank: Rank of the adapters.
        lora_alpha: How much they count: lora_alpha / lora_rank.
        lora_modules: The names of the layers that get adapters (q_proj, v_proj, ...); empty = all linear ones but the
            output.
        label_smoothing: Share of the target probability that is spread over all tokens.
        gradient_checkpointing: Whether to compute the language model's inner values anew on the way back, which saves
            memory and costs a third of the time.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"generation"})
    framework: ClassVar[str] = "transformers"
    # Captions of 324 photographs, after the warm-up: look at their photographs after 50 steps of 8 rows.
    steps_to_adapt: ClassVar[int | None] = 80
    type: Literal["language_model"] = "language_model"
    dropout: FractionBelowOne = 0.0
    path: str
    weights: Literal["pretrained", "random"] = "pretrained"
    tune: Tuning = "frozen"
    learning_rate_scale: NonNegativeFloat = 0.1
    revision: str | None = None
    slots: PositiveInt = 4
    bag_weight: NonNegativeFloat = 0.5
    warm_up_epochs: NonNegativeInt = 10
    connector: ConnectorKind | Literal["none"] = "mlp"
    shuffle: PositiveInt = 2
    latents: PositiveInt = 32
    lora_rank: PositiveInt = 16
    lora_alpha: float = 32.0
    lora_modules: tuple[str, ...] = ()
    label_smoothing: FractionBelowOne = 0.0
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden:
            raise ConfigError(f"hidden: a language model has none to set; leave it at 0 (found {self.hidden})")
        check_tune(self.tune, has_weights=self.weights == "pretrained")

    def requirements(self, target_name: str) -> Requirements:
        """Reads the language model's own config.

        Raises:
            WeightsError: It can't be had.
            ConfigError: It is no causal language model.
        """
        if self.weights == "random":
            return Requirements()
        settings = open_config(self.path, self.revision).get_text_config()
        return GenerationRequirements(
            tokenizer=self.path,
            revision=self.revision,
            num_embeddings=int(settings.vocab_size),
            max_tokens=getattr(settings, "max_position_embeddings", None),
        )

    def create(self, target: Target, width: int, resources: Path | None = None) -> LanguageModelHead:
        self.check(target)
        record = GenerationTarget.of(target)
        settings = open_config(self.path if resources is None else str(resources), self.revision)
        if self.weights == "random":
            for part in {id(result): result for result in (settings, settings.get_text_config())}.values():
                part.vocab_size = record.vocabulary_size
                part.pad_token_id, part.bos_token_id, part.eos_token_id = record.padding_id, None, record.end_id
        known = self.weights == "random" or resources is not None
        model = open_model(settings, None if known else self.path, self.revision)
        return LanguageModelHead(self, record, width, model)

    def build(self, target: Target, width: int) -> LanguageModelHead:
        return self.create(target, width)


class LanguageModelHead(TokenHead):
    """Writes a text with a language model."""

    never: Tensor

    def __init__(self, config: LanguageModelHeadConfig, target: GenerationTarget, width: int, model: Any) -> None:
        known = CausalLM(model).embeddings.shape[0]
        bag = BagOfTokens(target, min(known, target.vocabulary_size)) if config.bag_weight else None
        super().__init__(config, target, bag, config.bag_weight)
        self.config, self.label_smoothing = config, config.label_smoothing
        self.warm_up_epochs = config.warm_up_epochs if bag is not None else 0
        self.learning_rate_scale = config.learning_rate_scale
        self.settings: Any = model.config
        self.model: Any = model
        self._check_room(target)
        if config.tune == "frozen":
            model.requires_grad_(False)
        elif config.tune == "lora":
            add_lora(model, config.lora_rank, config.lora_alpha, config.dropout, config.lora_modules)
        if config.gradient_checkpointing:
            if config.tune == "frozen":
                # Its training mode is then its evaluation mode; gradient checkpointing happens in the former alone.
                without_dropout(model)
            # Named so until transformers 5.
            enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
            enable({"use_reentrant": False})
        embedding = self._language_model.width
        scale = self._language_model.embeddings.detach().float().square().mean().sqrt().item()
        self.summary = SummaryConnector(width, embedding, config.slots, scale)
        self.bag_scale = None if bag is None else nn.Parameter(torch.tensor(_BAG_SCALE))
        self.norm: nn.LayerNorm | None = None
        self.position_scale: nn.Parameter | None = None
        self.connector: Connector | None = None
        if config.connector != "none":
            self.norm = nn.LayerNorm(width)
            self.position_scale = nn.Parameter(torch.full((width,), 0.3))
            self.connector = connector(
                config.connector, width, embedding, shuffle=config.shuffle, latents=config.latents
            )
        never = torch.zeros(target.vocabulary_size)
        never[list(target.never_generated)] = -math.inf
        self.register_buffer("never", never, persistent=False)
        self._warned = False

    @property
    def _language_model(self) -> CausalLM:
        # Not a field: a model that has two names has its weights twice in a state dict.
        return CausalLM(self.model)

    def _check_room(self, target: GenerationTarget) -> None:
        limit = self._language_model.max_positions
        needed = target.typical_prompt + target.max_length + 2
        if limit is not None and needed > limit:
            raise ConfigError(
                f"model.heads.{target.name}: {self.config.path} takes {limit} tokens, but a typical prompt has "
                f"{target.typical_prompt} and the longest text {target.max_length}; lower max_prompt_tokens or "
                f"max_tokens under data.targets.{target.name}, or choose a model with a longer context"
            )

    # --- teacher forcing -----------------------------------------------------------------------------------------

    def read(self, fused: Fused, context: RowContext, truth: Truth | None = None) -> TokenOutput:
        """Logits of each token of the true text after the first, from those before it; before them, where there are
        earlier answers to be trained on, of each token of the prompt."""
        assert isinstance(truth, GenerationTruth), (
            f"{self.target.name}: without the true text there is nothing to go on from"
        )
        model = self._ready()
        answer = truth.values[:, 1:-1]
        tokens, directions = self.summary(fused.pooled)
        bag = None if self.bag is None else self._bag(directions)
        prefix = self._prefix(fused, context, answer.shape[1] + 1, tokens)
        values = torch.cat([prefix.values, model.embed(answer).to(prefix.values.dtype)], dim=1)
        mask = torch.cat([prefix.mask, answer != self.target.padding_id], dim=1)
        start, end = prefix.mask.shape[1] - 1, values.shape[1]
        if not self.training:
            # How long the batch's longest text is may not change another row's last bits: sums over keys are taken
            # in groups of a vector's width.
            more = -end % _VECTOR
            values, mask = F.pad(values, (0, 0, 0, more)), F.pad(mask, (0, more), value=False)
        if truth.earlier is None:
            logits = model(values, mask, torch.arange(start, end, device=values.device))[0]
            return TokenOutput(logits=logits, bag=bag)
        # The prompt's tokens are the last pieces; media between them make the stretch longer that they lie in.
        slots = prefix.slots[:, prefix.slots.shape[1] - truth.earlier.shape[1] :]
        first = 0 if self.target.placeholders else max(start - truth.earlier.shape[1], 0)
        logits = model(values, mask, torch.arange(first, end, device=values.device))[0]
        before = (slots - 1 - first).clamp(min=0)[:, :, None].expand(-1, -1, logits.shape[2])
        return TokenOutput(logits=torch.cat([logits.gather(1, before), logits[:, start - first :]], dim=1), bag=bag)

    def warm_up_loss(self, fused: Fused, context: RowContext, truth: Truth) -> RowLoss:
        assert isinstance(truth, GenerationTruth)
        assert self.bag is not None
        return RowLoss(self.bag.losses(self._bag(self.summary(fused.pooled)[1]), truth), self.bag.count(truth))

    def _bag(self, directions: Float[Tensor, "batch slots embedding"]) -> Float[Tensor, "batch tokens"]:
        """Which tokens the text has, by how well the slots agree with their embeddings."""
        assert self.bag is not None
        assert self.bag_scale is not None
        embeddings = self._language_model.embeddings[self.bag.ids].detach().to(directions.dtype)
        centered = embeddings - embeddings.mean(dim=0)
        centered = centered / (embeddings.norm(dim=1).mean() * math.sqrt(embeddings.shape[1]))
        return self.bag.log_probabilities(self.bag_scale.exp() * directions @ centered.T)

    def expected(self, truth: GenerationTruth) -> Int[Tensor, "batch length"]:
        answer = truth.values[:, 1:]
        return answer if truth.earlier is None else torch.cat([truth.earlier, answer], dim=1)

    # --- writing -------------------------------------------------------------------------------------------------

    def decoder(
        self, fused: Fused, context: RowContext, max_new_tokens: int, *, use_cache: bool = True
    ) -> IncrementalDecoder:
        prefix = self._prefix(fused, context, max_new_tokens)
        return _IncrementalDecoder(self._ready(), prefix, self.target, self.never, use_cache)

    # --- parts ---------------------------------------------------------------------------------------------------

    def _ready(self) -> CausalLM:
        if self.config.tune == "frozen" and not self.config.gradient_checkpointing:
            # What is frozen has no dropout, whatever mode the model around it is in.
            self.model.eval()
        return self._language_model

    def _prefix(
        self,
        fused: Fused,
        context: RowContext,
        room: int,
        summary: Float[Tensor, "batch slots embedding"] | None = None,
    ) -> Prefix:
        """What is read before the answer.

        Args:
            fused: What it is made of.
            context: Of the rows; the prompt is among its inputs.
            room: Tokens of the answer that are fed to the language model at most.
            summary: The fused summary's tokens; None: they are made here.
        """
        model, target = self._language_model, self.target
        batch, device = len(fused.pooled), fused.pooled.device
        # 1. The start and the summary, always there.
        front = [self.summary(fused.pooled)[0] if summary is None else summary]
        if target.start_id is not None:
            front.insert(0, model.embed(torch.full((batch, 1), target.start_id, device=device)).to(front[0].dtype))
        # 2. The columns' tokens, each of which knows its column and item.
        media, media_mask, groups = self._media(fused)
        # 3. The prompt.
        prompt = context.inputs.get("prompt")
        ids = torch.zeros(batch, 0, dtype=torch.int64, device=device) if prompt is None else prompt.values[:, 0].long()
        length = torch.arange(ids.shape[1], device=device)
        mask = length.expand_as(ids) < (0 if prompt is None else prompt.lengths)
        values = torch.cat([*front, media, model.embed(ids).to(media.dtype)], dim=1)
        # 4. In each row's own order.
        media_keys, keys, mask = order_with_placeholders(ids, mask, groups, media_mask, target.first_placeholder)
        always = torch.ones(batch, sum(piece.shape[1] for piece in front), dtype=torch.bool, device=device)
        everything = torch.cat([always, media_mask, mask], dim=1)
        if model.max_positions is not None and values.shape[1] + room > model.max_positions:
            everything = self._shortened(everything, ids.shape[1], room, model.max_positions)
        order = torch.cat([torch.zeros_like(always, dtype=torch.int64), media_keys, keys], dim=1)
        return assemble(values, everything, order)

    def _media(self, fused: Fused) -> tuple[Tensor, Tensor, Tensor]:
        """All columns' tokens as embeddings, which are valid, and their groups (see `order_with_placeholders`)."""
        batch, device = len(fused.pooled), fused.pooled.device
        if self.connector is None or self.norm is None or self.position_scale is None:
            none = torch.zeros(batch, 0, dtype=torch.int64, device=device)
            return fused.pooled.new_zeros(batch, 0, self._language_model.width), none.bool(), none
        values, masks, groups = [], [], []
        for name, column in fused.columns.items():
            tokens, grid, items = column.tokens, column.tokens.grid, column.lengths.shape[1]
            if len(grid) > 1 and grid[0] == items:
                grid = grid[1:]
            else:
                items = 1
            own = tokens.values.reshape(batch * items, -1, tokens.values.shape[2])
            mask = tokens.mask.reshape(batch * items, -1)
            positions = torch.arange(own.shape[1], device=device)
            own = self.norm(own) + self.position_scale * sinusoidal(positions, own.shape[2])
            made, valid = self.connector(own.masked_fill(~mask[:, :, None], 0.0), mask, grid)
            values.append(made.reshape(batch, -1, made.shape[2]))
            masks.append(valid.reshape(batch, -1))
            placeholders = self.target.placeholders
            group = placeholders.index(name) if name in placeholders else -2
            each = torch.arange(items, device=device).repeat_interleave(made.shape[1])
            groups.append((group * MOST_ITEMS + each).expand(batch, -1))
        return torch.cat(values, dim=1), torch.cat(masks, dim=1), torch.cat(groups, dim=1)

    def _shortened(self, mask: Tensor, prompt_length: int, room: int, limit: int) -> Tensor:
        """Prompts without their first tokens, in rows that are longer than the language model can read."""
        over = (mask.sum(dim=1) + room - limit).clamp(min=0)
        most = int(over.max())
        if not most:
            return mask
        advice = (
            f"lower max_prompt_tokens or max_tokens under data.targets.{self.target.name}, take fewer tokens from the "
            "columns (connector: perceiver or pixel_shuffle), or choose a model with a longer context"
        )
        before = mask[:, : mask.shape[1] - prompt_length]
        prompt = mask[:, mask.shape[1] - prompt_length :]
        if self.training or bool((over > prompt.sum(dim=1)).any()):
            raise ConfigError(
                f"model.heads.{self.target.name}: {self.config.path} takes {limit} tokens, but a row has "
                f"{limit + most}: up to {int(before.sum(dim=1).max())} from the columns, up to {prompt_length} of the "
                f"prompt, {room} to write; {advice}"
            )
        if not self._warned:
            self._warned = True
            _log.warning(
                "target %r: prompts are longer than the language model can read (%d tokens): up to %d of their first "
                "tokens are left out; %s", self.target.name, limit, most, advice,
            )  # fmt: skip
        return torch.cat([before, prompt & (prompt.cumsum(dim=1) > over[:, None])], dim=1)

    def adapters_off(self) -> AbstractContextManager[None]:
        """Without LoRA; with any other tuning there is no model but this one."""
        return without_lora(self.model) if self.config.tune == "lora" else nullcontext()

    def pretrained_parameters(self) -> Iterator[nn.Parameter]:
        if self.config.weights == "random" or self.config.tune != "full":
            return iter(())
        result: Iterator[nn.Parameter] = self.model.parameters()
        return result

    def save_resources(self, folder: Path) -> None:
        save_settings(self.settings, folder)


class _IncrementalDecoder(IncrementalDecoder):
    """From each row's last token to the log probabilities of its next one; the first token only says: begin.

    Args:
        model: The language model.
        prefix: What it has read before.
        target: What is written.
        never: [vocabulary], -inf for what may never be written.
        use_cache: Whether to keep keys and values.
    """

    def __init__(
        self, model: CausalLM, prefix: Prefix, target: GenerationTarget, never: Tensor, use_cache: bool
    ) -> None:
        self._model, self._target, self._never, self._use_cache = model, target, never, use_cache
        self._values, self._mask = prefix.values, prefix.mask
        self._cache: Any = None
        self._begun = False

    def __call__(self, token: Int[Tensor, " rows"]) -> Float[Tensor, "rows vocabulary"]:
        new = self._values
        if self._begun:
            new = self._model.embed(token[:, None]).to(self._values.dtype)
            self._mask = torch.cat([self._mask, (token != self._target.padding_id)[:, None]], dim=1)
            if not self._use_cache:
                self._values = new = torch.cat([self._values, new], dim=1)
        self._begun = True
        logits, self._cache = self._model(new, self._mask, None, self._cache, use_cache=self._use_cache)
        # Ids that the language model does not know are reserved, and never written.
        unknown = len(self._never) - logits.shape[2]
        logits = F.pad(logits[:, 0].float(), (0, unknown), value=-math.inf)
        return (logits + self._never).log_softmax(dim=-1)

    def reorder(self, rows: Int[Tensor, " new_rows"]) -> None:
        self._mask = self._mask[rows]
        if self._cache is None:
            self._values = self._values[rows]
        else:
            self._cache.reorder_cache(rows)
