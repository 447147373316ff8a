"""One file per encoder; importing this package registers them."""

from polysense.nn.encoders import audio, category, image, number, pretrained, text, timm
from polysense.nn.encoders.base import Encoder, EncoderConfig

__all__ = ["Encoder", "EncoderConfig", "audio", "category", "image", "number", "pretrained", "text", "timm"]
