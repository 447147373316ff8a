"""A bundle is built from its own folder: no library asks a hub meanwhile, whatever names stand in its settings.

huggingface_hub, by which transformers, timm and tokenizers ask, looks at one flag before every request; it belongs to
the process, so other threads are offline too while a bundle is loaded (seconds).
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import threading
from collections.abc import Iterator

__all__ = ["offline"]

_FLAG = "HF_HUB_OFFLINE"
_lock = threading.Lock()
_inside = 0
_before: dict[str, object] = {}


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Within it no request goes to a hub; one ends in an error of huggingface_hub."""
    global _inside
    constants = (
        vars(importlib.import_module("huggingface_hub.constants"))
        if importlib.util.find_spec("huggingface_hub") is not None
        else {}
    )
    with _lock:
        if _inside == 0:
            _before.update(constant=constants.get(_FLAG, False), variable=os.environ.get(_FLAG))
            constants[_FLAG], os.environ[_FLAG] = True, "1"  # the variable is for worker processes
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                constants[_FLAG] = _before["constant"]
                if isinstance(_before["variable"], str):
                    os.environ[_FLAG] = _before["variable"]
                else:
                    os.environ.pop(_FLAG, None)
