"""One file per fusion; importing this package registers them."""

from polysense.nn.fusion import concat, gated, transformer
from polysense.nn.fusion.base import Fusion, FusionConfig

__all__ = ["Fusion", "FusionConfig", "concat", "gated", "transformer"]
