"""One file per fusion; importing this package imports every file in it, which registers what it defines."""

import importlib
import pkgutil

from polysense.nn.fusion.base import Fusion, FusionConfig

__all__ = ["Fusion", "FusionConfig"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
