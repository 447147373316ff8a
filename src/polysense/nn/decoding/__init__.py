"""Decoding strategies, one per file.

An autoregressive head gives an `IncrementalDecoder`; greedy search, beam search, sampling and the ranking of listed
answers (`greedy.py`, `beam.py`, `sample.py`, `answers.py`) each read nothing else, so every head has all of them.
"""

from polysense.nn.decoding.base import Decoder, DecodingConfig, Generated
from polysense.nn.decoding.incremental import IncrementalDecoder

__all__ = ["Decoder", "DecodingConfig", "Generated", "IncrementalDecoder"]
