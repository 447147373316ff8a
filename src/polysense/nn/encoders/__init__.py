"""One file per encoder; importing this package imports every file in it, which registers what it defines."""

import importlib
import pkgutil

from polysense.nn.encoders.base import Encoder, EncoderConfig

__all__ = ["Encoder", "EncoderConfig"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
