"""Settings of trained heads, changed for prediction: what says how is predicted, and not what was learned.

That is the decoding of a head that writes texts, and what a head's config lists as its `prediction_settings`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from polysense.config.codec import from_dict, to_dict
from polysense.config.overrides import apply_overrides, split_override
from polysense.core.spelling import did_you_mean
from polysense.errors import ConfigError
from polysense.nn.decoding.options import DecodingOptions, changed
from polysense.nn.head import BaseHead, HeadConfig
from polysense.nn.model import MultimodalModel
from polysense.nn.model_config import ModelConfig

__all__ = ["changed_for_prediction"]


def changed_for_prediction(
    model: MultimodalModel, config: ModelConfig, options: DecodingOptions
) -> tuple[MultimodalModel, ModelConfig]:
    """The same model, weights shared, that predicts in another way, and its config; arguments as in
    `Bundle.with_decoding`.

    Raises:
        ConfigError: No target is written token by token, or there is no such type, key, setting or value.
    """
    settings, decoding = _split(options)
    heads = dict(config.heads)
    modules: dict[str, BaseHead] = {}
    for name, head in _changed_heads(heads, settings).items():
        heads[name], modules[name] = head, model.head(name).with_settings(head)
    if decoding != []:
        strategies = {name: head.strategy for name, head in heads.items() if head.strategy is not None}
        if not strategies:
            targets = ", ".join(f"{name} ({model.head(name).target.task})" for name in heads)
            raise ConfigError(f"decoding: this model generates no text; its targets are {targets}")
        for name, strategy in changed(strategies, decoding).items():
            heads[name] = heads[name].with_strategy(strategy)
            modules[name] = modules.get(name, model.head(name)).redecoded(strategy)
    return model.with_heads(modules).eval(), replace(config, heads=heads)


def _split(options: Any) -> tuple[list[str], Any]:
    """The overrides of heads' own settings (`head.KEY=VALUE`, `model.heads.TARGET.KEY=VALUE`), and what is left for
    their decoding."""
    if isinstance(options, (str, Mapping)) or not isinstance(options, Sequence):
        return [], options
    settings = [option for option in options if _is_setting(option)]
    rest = [option for option in options if not _is_setting(option)]
    return settings, rest


def _changed_heads(heads: Mapping[str, HeadConfig], settings: Sequence[str]) -> dict[str, HeadConfig]:
    """The heads that are changed, as they are then; `head.KEY` is that of all heads that have it.

    Args:
        heads: Of a trained model, by target.
        settings: Overrides, see `_split`.

    Raises:
        ConfigError: No such head has such a setting, or it can't be changed after training, or not to this value.
    """
    results: dict[str, HeadConfig] = {}
    for setting in settings:
        parts, value = split_override(setting)
        key, asked = parts[-1], parts[-2]
        named = heads if parts[0] == "head" else {name: head for name, head in heads.items() if name == asked}
        having = [name for name, head in named.items() if key in head.prediction_settings]
        if not having:
            raise ConfigError(_refusal(heads, named, setting, key))
        for name in having:
            plain = apply_overrides(to_dict(results.get(name, heads[name])), [f"[{key}]={value}"])
            results[name] = from_dict(HeadConfig, plain, where=f"head of the target {name!r}")
    return results


def _is_setting(option: str) -> bool:
    parts, _ = split_override(option)
    if parts[0] == "head":
        return len(parts) == 2
    return parts[:2] == ["model", "heads"] and len(parts) == 4 and parts[3] != "decoding"


def _refusal(heads: Mapping[str, HeadConfig], named: Mapping[str, HeadConfig], setting: str, key: str) -> str:
    if not named:
        return f"{setting!r}: this model has no such target; its targets are {', '.join(heads)}"
    there = {name: head.prediction_settings for name, head in heads.items() if head.prediction_settings}
    if not there:
        types = ", ".join(head.type for head in heads.values())
        return (
            f"{setting!r}: beside the decoding of texts, nothing of this model's heads ({types}) can be changed "
            "after training"
        )
    each = "; ".join(f"{', '.join(keys)} of the target {name!r}" for name, keys in there.items())
    hint = did_you_mean(key, sorted({one for keys in there.values() for one in keys}))
    return f"{setting!r}: no setting that can be changed after training{hint}; there are: {each}"
