"""One file per fusion."""

from polysense.nn.fusion.base import Fusion, FusionConfig

__all__ = ["Fusion", "FusionConfig"]
