"""Folders and hub names of pretrained models: loaded with one clear error for whatever goes wrong, and saved.

A folder is data: no code that it brings along is run, nobody is asked whether it may, and it is loaded without the hub.
Weights are float32 in memory, whatever the file holds: every float16 and bfloat16 value is a float32 one, so nothing
is lost; arithmetic in less is autocast's business.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from polysense.core.error_text import first_line
from polysense.core.json import read_json, write_json
from polysense.core.own_code import OWN_CODE, needs_own_code
from polysense.errors import WeightsError

__all__ = [
    "companion",
    "companion_list",
    "from_pretrained",
    "from_settings",
    "layers_of",
    "main_input",
    "open_backbone",
    "save_settings",
]

_J = TypeVar("_J")


def save_settings(settings: Any, folder: Path) -> None:
    """Writes a transformers config as config.json, without what names code beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    settings.save_pretrained(str(folder))
    plain = read_json(folder / "config.json", dict)
    write_json(folder / "config.json", {key: value for key, value in plain.items() if key != "auto_map"})


def from_pretrained(factory: Any, path: str, revision: str | None, **options: Any) -> Any:
    """Loads from a folder or the hub; whatever goes wrong becomes one clear error.

    Args:
        factory: A class of transformers that has `from_pretrained`.
        path: A local folder or a hub name.
        revision: Of the hub; None = the newest.
        options: Passed on.

    Raises:
        WeightsError: It can't be had; says why and what to do.
    """
    local = Path(path).expanduser()
    looks_local = local.exists() or path.startswith((".", "/", "~")) or path.count("/") > 1
    if looks_local and not local.is_dir():
        raise WeightsError(
            f"{path}: {'is a file' if local.exists() else 'no such folder'}; expected a folder written by "
            f"save_pretrained (config.json, model.safetensors, tokenizer or preprocessor files)"
        )
    try:
        where = str(local) if looks_local else path
        return factory.from_pretrained(
            where,
            revision=None if looks_local else revision,
            local_files_only=looks_local,
            trust_remote_code=False,
            **options,
        )
    except Exception as error:
        where = "the folder" if looks_local else "the hub name"
        if needs_own_code(error):
            raise WeightsError(f"can't load {factory.__name__} from {where} {path!r}: {OWN_CODE}") from None
        advice = (
            "check that the folder holds what save_pretrained writes"
            if looks_local
            else "without a network give a local folder instead, or set HF_HOME to a cache that holds it"
        )
        raise WeightsError(
            f"can't load {factory.__name__} from {where} {path!r}: {first_line(error)}; {advice}"
        ) from error


def from_settings(factory: Any, settings: Any, **options: Any) -> Any:
    """A model of a config, with random weights; errors as in `from_pretrained`."""
    try:
        return factory.from_config(settings, trust_remote_code=False, **options)
    except Exception as error:
        named = f"{factory.__name__} of the settings for {getattr(settings, 'model_type', '?')!r}"
        if needs_own_code(error):
            raise WeightsError(f"can't build {named}: {OWN_CODE}") from None
        raise WeightsError(
            f"can't build {named}: {first_line(error)}; check the config.json that it comes from"
        ) from error


def open_backbone(path: str | None, revision: str | None, settings: Any) -> Any:
    """transformers' model of a config in float32, with a path's weights, or random ones where there is no path.

    Raises:
        WeightsError: See `from_pretrained`; or the weights are quantized.
    """
    import transformers

    if getattr(settings, "quantization_config", None) is not None:
        raise WeightsError(
            f"{path}: holds quantized weights ({settings.model_type}), which can't be run as float32; give the model's "
            f"original folder (float32, float16 or bfloat16)"
        )
    settings.dtype = torch.float32
    factory: Any = transformers.AutoModel
    if path is None:
        return from_settings(factory, settings, dtype=torch.float32)
    return from_pretrained(factory, path, revision, config=settings, dtype=torch.float32)


def companion(path: str, name: str, revision: str | None) -> dict[str, Any]:
    """A JSON file that lies beside a model's config; {} where there is none.

    Args:
        path: The model's folder or hub name.
        name: The file's, such as tokenizer_config.json.
        revision: Of the hub; None = the newest.

    Raises:
        WeightsError: It is no JSON object.
    """
    return _read_beside(path, name, revision, dict) or {}


def companion_list(path: str, name: str, revision: str | None) -> list[Any]:
    """As `companion`, of a JSON list; [] where there is none."""
    return _read_beside(path, name, revision, list) or []


def _read_beside(path: str, name: str, revision: str | None, kind: type[_J]) -> _J | None:
    folder = Path(path).expanduser()
    file: Path | None = folder / name
    if not folder.is_dir():
        from transformers.utils.hub import cached_file

        # Its own lists of what is absent keep the hub from being asked again.
        result = cached_file(
            path,
            name,
            revision=revision,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
            _raise_exceptions_for_gated_repo=False,
        )
        file = None if result is None else Path(result)
    if file is None or not file.is_file():
        return None
    try:
        return read_json(file, kind)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{file}: can't be read: {error}") from None


def layers_of(output: Any) -> tuple[Tensor, ...]:
    """The layers of a transformers output that have the last one's shape, from the input's embeddings on.

    The last is `last_hidden_state`, after the network's final normalization, which some hidden states lack.
    """
    last: Tensor | None = getattr(output, "last_hidden_state", None)
    if last is None:  # what transformers calls a backbone gives feature maps alone
        last = output.feature_maps[-1]
    every = getattr(output, "hidden_states", None) or ()
    if len(every) < 2 or any(layer.shape != last.shape for layer in every):
        return (last,)
    return (*every[:-1], last)


def main_input(settings: Any) -> str:
    """The name of the input that a transformers model of these settings reads: input_ids, pixel_values, ..."""
    import transformers

    model: Any = transformers.MODEL_MAPPING.get(type(settings), None)
    if isinstance(model, (list, tuple)):
        model = model[0]
    return "" if model is None else str(model.main_input_name)
