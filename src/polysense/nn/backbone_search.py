"""The search for a pretrained network where a recipe names none: in a folder of models, in the local Hugging Face
cache, on the hub.

Where it looks is the recipe's `pretrained`, and what it looks for is said by loaders: an encoder of a column's
modality, a language model for a target. The outcome is a config, or none, and the reason in a sentence.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from polysense.core.backbones import Backbones
from polysense.core.logs import get_logger
from polysense.errors import WeightsError
from polysense.nn.backbone_download import download
from polysense.nn.backbones import PRETRAINED, Loader, ModelFolder, cache_folder, choose, look_at, snapshot, survey

__all__ = ["BackboneSearch"]

_MOST_REASONS = 4

_log = get_logger("polysense.nn")

C = TypeVar("C")  # the config of what is chosen


class BackboneSearch(Generic[C]):
    """The search.

    Args:
        backbones: Well-known networks, and what a folder is worth.
        loaders: What can load one, the best format first.
    """

    def __init__(self, backbones: Backbones, loaders: Sequence[Loader[C]]) -> None:
        self.backbones, self.loaders = backbones, loaders

    def run(self, pretrained: str) -> tuple[C | None, str]:
        """The config, None where nothing fits; and the reason.

        Args:
            pretrained: auto, off, download, or a folder.
        """
        variable = os.environ.get(PRETRAINED, "").strip() or "auto"
        chosen = variable if pretrained == "auto" else pretrained
        if chosen == "off":
            return None, f"{PRETRAINED} is off" if pretrained == "auto" else "pretrained is off"
        reasons: list[str] = []
        folder = next((each for each in (pretrained, variable) if each not in ("auto", "off", "download")), None)
        if folder is not None:
            named = f"the folder {Path(folder).name}" + ("" if folder == pretrained else f" that {PRETRAINED} names")
            config, reason = self._folder(Path(folder).expanduser(), named)
            if config is not None or folder == pretrained:
                return config, reason
            reasons.append(reason)
        config, reason = self._cache()
        if config is None and chosen == "download":
            config, reason = self._hub()
        return config, reason if config is not None else "; ".join([*reasons, reason])

    def _folder(self, root: Path, named: str) -> tuple[C | None, str]:
        chosen, refused = choose(survey(root), self.backbones, self.loaders)
        if chosen is not None:
            return chosen[1], f"pretrained {self._described(chosen[0])}, from {named}"
        return None, f"{named} holds no {self.backbones.noun} ({_listed(refused)})"

    def _cache(self) -> tuple[C | None, str]:
        root = cache_folder()
        places = {name: snapshot(root, name) for name in self.backbones.names}
        models = [look_at(place, name) for name, place in places.items() if place is not None]
        chosen, refused = choose(models, self.backbones, self.loaders)
        if chosen is not None:
            return chosen[1], f"pretrained {self._described(chosen[0])}, from the local Hugging Face cache"
        broken = f" ({_listed(refused)})" if refused else ""
        return None, (
            f"the local Hugging Face cache holds none of the {len(places)} {self.backbones.noun}s that are "
            f"looked for, such as {self.backbones.names[0]}{broken}"
        )

    def _hub(self) -> tuple[C | None, str]:
        first = self.backbones.known[0]
        try:
            model = look_at(download(first), first.name)
        except WeightsError as error:
            _log.warning("%s", error)
            return None, str(error)
        chosen, refused = choose([model], self.backbones, self.loaders)
        if chosen is None:
            return None, f"{first.name} was downloaded, and can't be used: {refused[first.name]}"
        return chosen[1], f"pretrained {self._described(model)}, downloaded from the Hugging Face hub"

    def _described(self, model: ModelFolder) -> str:
        loader = next(each for each in self.loaders if each.loads(model.folder.settings))
        return f"{model.name} ({loader.framework}, {model.parameters / 1e6:.1f} million parameters)"


def _listed(refused: Mapping[str, str]) -> str:
    """Models and why they were passed over."""
    if not refused:
        return "it holds no model's folder: none with a config.json"
    each: Sequence[str] = [f"{name}: {reason}" for name, reason in refused.items()]
    more = f"; and {len(each) - _MOST_REASONS} more" if len(each) > _MOST_REASONS else ""
    return "; ".join(each[:_MOST_REASONS]) + more
