"""Features of a table that is about to be labeled: made once, and kept beside its labels.

Columns are read as in a training without a target, by frozen pretrained encoders where some are at hand and by what
preprocessing makes of cells without weights. So nothing of it depends on labels, and a second session has them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from polysense.core.checksum import checksum_of_bytes
from polysense.core.files import replacing
from polysense.core.json import json_text
from polysense.core.logs import get_logger
from polysense.core.role import Role
from polysense.data.roles.infer import ColumnGuess
from polysense.data.tables.fingerprint import table_fingerprint
from polysense.data.tables.sources import Table
from polysense.presets import recipe_for
from polysense.workflows.encoder_choice import choose_encoders
from polysense.workflows.labeling.frozen_features import feature_model, feature_recipe

__all__ = ["labeling_features"]

_log = get_logger("polysense.labeling")
