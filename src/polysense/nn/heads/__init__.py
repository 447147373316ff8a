"""One file per head; importing this package imports every file in it, which registers what it defines."""

import importlib
import pkgutil

from polysense.nn.heads.base import Head, HeadConfig

__all__ = ["Head", "HeadConfig"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
