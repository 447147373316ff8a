"""A pretrained causal language model as a part: loaded, adapted, and called on embeddings.

Adapting it costs from nothing to everything: frozen, only what leads into it learns; with LoRA (Hu et al., "LoRA:
Low-Rank Adaptation of Large Language Models", 2021) every linear layer W of its blocks becomes W + (alpha / r) B A with
B = 0 at first, so that training starts from the model as it is; full tuning moves all of it, more slowly than the rest.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from polysense.errors import ConfigError, DependencyError, WeightsError
from polysense.nn.pretrained_files import from_pretrained, from_settings

__all__ = [
    "CausalLM",
    "Tuning",
    "add_lora",
    "are_untouched",
    "cache_name",
    "lora_parameters",
    "open_config",
    "open_model",
    "without_lora",
]

# What transformers calls the keys and values of the past: the first since 5.24, the second before.
_CACHE_NAMES = ("cache", "past_key_values")

Tuning: TypeAlias = Literal["frozen", "lora", "full"]


def open_config(path: str, revision: str | None) -> Any:
    """The model's own config.

    Raises:
        WeightsError: It can't be had.
        ConfigError: It is no causal language model.
    """
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    settings = from_pretrained(transformers.AutoConfig, path, revision)
    kind = settings.model_type
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or getattr(settings, "is_encoder_decoder", False):
        raise ConfigError(
            f"{path}: holds a model of the type {kind!r}, expected a causal language model (GPT-2, Llama, Qwen, ...); "
            "use such a one as an encoder (type: pretrained), or give another path"
        )
    named = getattr(settings, "architectures", None) or ()
    if named and all(name.endswith(("ForMaskedLM", "ForSequenceClassification", "ForPreTraining")) for name in named):
        raise ConfigError(
            f"{path}: holds a {named[0]}, expected a causal language model (GPT-2, Llama, Qwen, ...); give another path"
        )
    return settings


def open_model(settings: Any, path: str | None, revision: str | None) -> Any:
    """The model in float32, with pretrained weights, or random ones where there is no path."""
    import transformers

    # Where a key's mask differs from row to row, only these two give every row its own.
    factory: Any = transformers.AutoModelForCausalLM
    options: dict[str, Any] = {"dtype": torch.float32}

    def opened(attention: str) -> Any:
        if path is None:
            return from_settings(factory, settings, attn_implementation=attention, **options)
        return from_pretrained(factory, path, revision, config=settings, attn_implementation=attention, **options)

    try:
        return opened("sdpa")
    except WeightsError as error:
        if not isinstance(error.__cause__, (ValueError, ImportError)):
            raise
        return opened("eager")


def add_lora(model: Any, rank: int, alpha: float, dropout: float, target_modules: tuple[str, ...]) -> None:
    """Freezes a model and gives its linear layers low-rank adapters, which start as nothing.

    Args:
        model: Changed in place.
        rank: Of the adapters.
        alpha: What they count: alpha / rank.
        dropout: Before them.
        target_modules: The ends of the names of the layers; none: every linear layer but the output.

    Raises:
        DependencyError: peft is not installed.
        ConfigError: There is no such layer.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
        from transformers.pytorch_utils import Conv1D
    except ImportError as error:
        raise DependencyError(
            f"tune: lora needs peft, which can't be imported ({error}); pip install 'polysense[adapt]'"
        ) from error
    output = model.get_output_embeddings()
    linear = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and module is not output
    }
    if target_modules:
        chosen = [name for name in linear if name.split(".")[-1] in target_modules or name in target_modules]
        if not chosen:
            ends = sorted({name.split(".")[-1] for name in linear})
            raise ConfigError(
                f"lora_modules: no linear layer is named {', '.join(target_modules)}; there are {', '.join(ends)}"
            )
    else:
        chosen = list(linear)
    # GPT-2 keeps its weights transposed; peft wants to be told.
    transposed = all(isinstance(linear[name], Conv1D) for name in chosen)
    options: dict[str, Any] = {"lora_alpha": alpha}  # peft declares an int and divides it
    settings = LoraConfig(
        r=rank, lora_dropout=dropout, target_modules=chosen, fan_in_fan_out=transposed, bias="none", **options
    )
    inject_adapter_in_model(settings, model)


def lora_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The weights of all low-rank adapters in a model; none where it has none."""
    return [parameter for name, parameter in model.named_parameters() if ".lora_" in name]


def are_untouched(model: nn.Module) -> bool:
    """Whether all low-rank adapters add nothing, as when they were made: the second factor of each is 0."""
    return not any(bool(each.any()) for name, each in model.named_parameters() if ".lora_B." in name)


@contextmanager
def without_lora(model: nn.Module) -> Iterator[None]:
    """Within it a model that `add_lora` changed is what it was before.

    Adapters count 0 rather than being skipped: which parameters a forward touches stays the same on every rank.
    """
    from peft.tuners.lora import LoraLayer

    scales = [layer.scaling for layer in model.modules() if isinstance(layer, LoraLayer)]
    before = [dict(scale) for scale in scales]
    try:
        for scale in scales:
            scale.update(dict.fromkeys(scale, 0.0))
        yield
    finally:
        for scale, values in zip(scales, before, strict=True):
            scale.update(values)


def cache_name(model: Any) -> str:
    """What a model's forward calls the keys and values of the past.

    Raises:
        ConfigError: It takes none.
    """
    parameters = inspect.signature(model.forward).parameters
    name = next((name for name in _CACHE_NAMES if name in parameters), None)
    if name is None:
        raise ConfigError(
            f"{type(model).__name__}: its forward takes none of {', '.join(_CACHE_NAMES)}; expected a language model "
            "with a key-value cache (GPT-2, Llama, Qwen, ...); give another path"
        )
    return name


@dataclass(eq=False)
class CausalLM:
    """Calls a model on embeddings.

    Attributes:
        model: AutoModelForCausalLM's.
    """

    model: Any

    def __post_init__(self) -> None:
        self._keeps = "logits_to_keep" in inspect.signature(self.model.forward).parameters
        self._cache_name = cache_name(self.model)

    @property
    def settings(self) -> Any:
        """The text part of the model's config."""
        return self.model.config.get_text_config()

    @property
    def embeddings(self) -> Tensor:
        """[vocabulary, width], what its tokens are to it."""
        weight: Tensor = self.model.get_input_embeddings().weight
        return weight

    @property
    def width(self) -> int:
        """Width of its embeddings."""
        return int(self.embeddings.shape[1])

    @property
    def max_positions(self) -> int | None:
        """The longest sequence that it takes, if it says so."""
        result = getattr(self.settings, "max_position_embeddings", None)
        return int(result) if result else None

    def embed(self, ids: Tensor) -> Tensor:
        """Embeddings of token ids; ids that it does not know are taken for 0, they are to be masked."""
        embedding = self.model.get_input_embeddings()
        return embedding(torch.where(ids < embedding.weight.shape[0], ids, 0))  # type: ignore[no-any-return]

    def __call__(
        self, values: Tensor, mask: Tensor, keep: Tensor | None = None, cache: Any = None, *, use_cache: bool = False
    ) -> tuple[Tensor, Any]:
        """Logits.

        Args:
            values: [batch, length, embedding], what is new.
            mask: [batch, past + length], what is valid of the past and of the new.
            keep: The positions of `values` whose logits are wanted; None: the last one.
            cache: The past's keys and values.
            use_cache: Whether to keep them.

        Returns:
            float [batch, kept, vocabulary], and the keys and values.
        """
        positions = (mask.long().cumsum(dim=1) - 1).clamp(min=0)[:, -values.shape[1] :]
        keep = torch.tensor([values.shape[1] - 1], device=values.device) if keep is None else keep
        options: dict[str, Any] = {self._cache_name: cache}
        if self._keeps:
            options["logits_to_keep"] = keep
        output = self.model(
            inputs_embeds=values,
            attention_mask=mask.long(),
            position_ids=positions,
            use_cache=use_cache,
            return_dict=True,
            **options,
        )
        logits = output.logits if self._keeps else output.logits[:, keep]
        return logits, getattr(output, self._cache_name) if use_cache else None
