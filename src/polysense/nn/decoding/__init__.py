"""How a text is written: one strategy per file; importing this package imports every one, which registers them.

A head that writes gives a `Stepper`; greedy search, beam search, sampling and the ranking of listed answers
(`greedy.py`, `beam.py`, `sample.py`, `answers.py`) each read nothing else, so every head has all of them.
"""

import importlib
import pkgutil

from polysense.nn.decoding.base import Decoder, DecodingConfig, Written
from polysense.nn.decoding.stepper import Stepper

__all__ = ["Decoder", "DecodingConfig", "Stepper", "Written"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
