"""Other ways of decoding for a model that is trained: options as a user names them, to configs per target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from polysense.config.codec import from_dict, to_dict
from polysense.config.overrides import apply_overrides
from polysense.errors import ConfigError
from polysense.nn.decoding.base import DecodingConfig

__all__ = ["DecodingOptions", "changed"]

DecodingOptions: TypeAlias = str | Mapping[str, Any] | DecodingConfig | Sequence[str]
"""A type (`"beam"`); keys (`{"type": "sample", "temperature": 0.7}`); a config; or overrides as on the command line
(`["decoding.beam_size=8"]`, or `["model.heads.caption.decoding.beam_size=8"]` for one of several targets), among which
may be settings of heads that write no text (`["head.guidance=3"]`, see `nn.head_settings`)."""


def changed(current: Mapping[str, DecodingConfig], options: DecodingOptions) -> dict[str, DecodingConfig]:
    """The decoding of each target, with what options change. Another type starts from its own defaults.

    Args:
        current: Per target that is written.
        options: For all of them, unless an override names one.

    Raises:
        ConfigError: There is no such target, type or key, or a value can't be.
    """
    if isinstance(options, DecodingConfig):
        return dict.fromkeys(current, options)
    plain: dict[str, Any] = {name: {"decoding": to_dict(config)} for name, config in current.items()}
    if isinstance(options, Mapping):
        for part in plain.values():
            same = options.get("type", part["decoding"]["type"]) == part["decoding"]["type"]
            part["decoding"] = {**(part["decoding"] if same else {}), **options}
    else:
        for override in [f"decoding={options}"] if isinstance(options, str) else options:
            _override(plain, override)
    return {name: _config(part["decoding"], name) for name, part in plain.items()}


def _config(plain: Any, target: str) -> DecodingConfig:
    if isinstance(plain, str):
        plain = {"type": plain}
    return from_dict(DecodingConfig, plain, where=f"decoding of the target {target!r}")


def _override(plain: dict[str, Any], override: str) -> None:
    if override.startswith(("decoding=", "decoding.")):
        for part in plain.values():
            apply_overrides(part, [override])
        return
    before = {name: set(part) for name, part in plain.items()}
    # A missing key would be made on the way; what is made that should not be is found afterwards.
    root: dict[str, Any] = {"model": {"heads": plain}}
    apply_overrides(root, [override])
    if set(root) != {"model"} or set(root["model"]) != {"heads"} or {n: set(p) for n, p in plain.items()} != before:
        raise ConfigError(
            f"found {override!r}; a trained model's decoding alone can be changed: write decoding.KEY=VALUE, or "
            f"model.heads.TARGET.decoding.KEY=VALUE with one of the targets {', '.join(plain)}"
        )
