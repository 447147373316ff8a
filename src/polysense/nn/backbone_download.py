"""Download of a well-known backbone from the Hugging Face hub into its cache, where somebody has allowed it.

Tensors and settings alone: no pickles, no code. The size is known, and logged, before the first byte of weights moves.
"""

from __future__ import annotations

import fnmatch
from pathlib import Path

from polysense.core.backbones import Backbone
from polysense.core.error_text import first_line
from polysense.core.logs import get_logger
from polysense.errors import WeightsError

__all__ = ["download"]

_PATTERNS = ("config.json", "*_config.json", "*.safetensors", "tokenizer*", "vocab*", "merges.txt", "modules.json",
             "special_tokens_map.json", "1_Pooling/config.json", "*.model")  # fmt: skip

_log = get_logger("polysense.nn")


def download(backbone: Backbone) -> Path:
    """The folder of a backbone's files.

    Raises:
        WeightsError: The hub can't be reached, or does not have them.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    name = backbone.name
    try:
        info = HfApi().model_info(name, files_metadata=True, timeout=10)
        files = {each.rfilename: each.size or 0 for each in info.siblings or () if _is_needed(each.rfilename)}
        megabytes = sum(files.values()) / 1e6
        _log.info("downloading %s (%.0f MB, license %s) from the Hugging Face hub", name, megabytes, backbone.license)
        return Path(snapshot_download(name, revision=info.sha, allow_patterns=list(files)))
    except (OSError, ValueError, HfHubHTTPError, OfflineModeIsEnabled) as error:
        raise WeightsError(f"{name} can't be downloaded: {first_line(error)}") from None


def _is_needed(file: str) -> bool:
    return any(fnmatch.fnmatchcase(file, pattern) for pattern in _PATTERNS)
