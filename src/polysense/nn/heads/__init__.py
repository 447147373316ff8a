"""One file per head; importing this package registers them."""

from polysense.nn.heads import classification, multilabel, regression
from polysense.nn.heads.base import Head, HeadConfig

__all__ = ["Head", "HeadConfig", "classification", "multilabel", "regression"]
