"""Augmentation of batches in training, one module per modality.

Importing the package registers the members of the `transform` family.
"""

from polysense.data.transforms import audio as audio
from polysense.data.transforms import image as image
from polysense.data.transforms import text as text
