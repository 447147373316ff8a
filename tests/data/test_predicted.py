"""Where cells lie reaches whoever writes predictions or measures them, in original pixels."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from PIL import Image

from polysense.bundle import Bundle
from polysense.core.geometry import Geometry
from polysense.core.task_spec import BatchRows
from polysense.data.batches.loader import PredictLoader
from polysense.data.config import DataConfig
from polysense.data.media.pixels import Resize
from polysense.data.processor import Processor
from polysense.data.tables.sources import read_table
from polysense.evaluation.evaluator import evaluate
from polysense.modalities.image.column import ImageColumnConfig
from polysense.modalities.image.encoders.cnn import ImageCNNConfig
from polysense.nn.model_config import ModelConfig
from polysense.tasks.regression import predicted
from polysense.tasks.regression.heads.regression import RegressionHeadConfig
from polysense.tasks.regression.spec import SPEC, RegressionSpec
from polysense.tasks.regression.target import RegressionTargetConfig

SIZES = [(20 + row, 40 - row) if row % 5 else None for row in range(40)]


def png(size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros(size, np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_predictions_and_metrics_get_geometry_in_the_tables_order(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"photo": None if size is None else png(size), "y": float(i)} for i, size in enumerate(SIZES)]
    table = read_table(rows)
    data = DataConfig(columns={"photo": ImageColumnConfig(size=(16, 24))}, targets={"y": RegressionTargetConfig()})
    processor = Processor.fit(table, data)
    config = ModelConfig(width=8, encoders={"photo": ImageCNNConfig()}, heads={"y": RegressionHeadConfig()})
    bundle = Bundle(processor, config.build(processor.schema).eval(), config)
    seen: list[tuple[np.ndarray, Geometry]] = []
    plain, measured = predicted.predicted_columns, RegressionSpec.row_statistics

    def spied(
        target: Any, outputs: Any, column: Any, table: Any, geometry: Mapping[str, Geometry]
    ) -> dict[str, object]:
        seen.append((np.asarray(table.rows), geometry["photo"]))
        return plain(target, outputs, column, table, geometry)

    def spied_statistics(self: RegressionSpec, target: Any, outputs: Any, truth: Any, given: BatchRows) -> Any:
        seen.append((given.numbers, given.geometry["photo"]))
        return measured(self, target, outputs, truth, given)

    monkeypatch.setattr(predicted, "predicted_columns", spied)
    monkeypatch.setattr(RegressionSpec, "row_statistics", spied_statistics)
    bundle.predict(table)
    loader = PredictLoader(bundle.dataset(table, with_targets=True), bundle.schema)
    evaluate(lambda batch: bundle.model.predict(batch)[0], loader, bundle.schema.targets, bootstrap=0)
    assert SPEC.decode.endswith("predicted_columns")
    assert len(seen) == 4, "two batches each"
    for numbers, geometry in seen:
        assert len(geometry.sizes) == len(geometry.matrices) == len(numbers)
        for number, size, matrix in zip(numbers, geometry.sizes, geometry.matrices, strict=True):
            original = SIZES[number]
            if original is None:
                assert size.tolist() == [0, 0]
                assert np.array_equal(matrix, np.eye(3))
            else:
                assert tuple(size) == original
                np.testing.assert_allclose(matrix, Resize((16, 24)).matrix(*original), rtol=1e-6)
