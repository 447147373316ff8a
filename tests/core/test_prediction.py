from __future__ import annotations

import numpy as np
import torch

from polysense.core.prediction import as_arrays


def test_rows_are_taken_and_bfloat16_leaves_torch_as_float32() -> None:
    tensors = {"values": torch.arange(4), "probabilities": torch.tensor([0.5, 0.25, 0.75, 1.0]).bfloat16()[:, None]}
    arrays = as_arrays(tensors, torch.tensor([True, False, False, True]))
    assert arrays["values"].tolist() == [0, 3]
    assert arrays["probabilities"].dtype == np.float32
    assert arrays["probabilities"].tolist() == [[0.5], [1.0]]
    assert as_arrays(tensors)["values"].tolist() == [0, 1, 2, 3]
