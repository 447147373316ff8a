from __future__ import annotations

import numpy as np
import pytest
from backbone_folders import save_bert

from polysense.data.tables.sources import read_table
from polysense.workflows.labeling.frozen_features import FeatureModel, feature_model, feature_recipe
from polysense.workflows.prepare import prepare, pretrained_override

ROWS = {
    "note": ["the cat sat", None, "on the mat", "and it was", None, "not amused to be"] * 3,
    "level": [0.5, 2.0, None, 4.0, None, 7.0] * 3,
    "label": ["a", "b"] * 9,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> FeatureModel:
    folder = tmp_path_factory.mktemp("bert")
    save_bert(folder / "bert", layers=2)
    prepared = prepare(ROWS, target="label", columns={"note": "text"}, overrides=pretrained_override(folder / "bert"))
    return feature_model(feature_recipe(prepared.recipe, 18), prepared.table, device="cpu")


def test_a_frozen_backbone_gives_the_vector_of_its_column_and_preprocessing_that_of_others(model: FeatureModel) -> None:
    assert model.model.column_encoders["note"].num_item_features > 0
    assert model.recipe.model.encoders["level"].type == "features"
    assert "note (pretrained, frozen" in model.description
    assert "level (without weights" in model.description


def test_rows_are_in_order_and_what_they_lack_is_nan(model: FeatureModel) -> None:
    done: list[tuple[int, int]] = []
    values, unreadable = model.read(read_table(ROWS), progress=lambda *each: done.append(each))
    assert not unreadable
    assert done[-1] == (18, 18)
    size = model.sizes["note"]
    assert values.shape == (18, size + model.sizes["level"])
    has_note = [cell is not None for cell in ROWS["note"]]
    has_level = [cell is not None for cell in ROWS["level"]]
    assert np.isfinite(values[:, :size]).all(axis=1).tolist() == has_note
    assert np.isfinite(values[:, size:]).all(axis=1).tolist() == has_level
    np.testing.assert_allclose(values[:6], values[6:12], rtol=1e-5, atol=1e-6)
    assert not np.allclose(values[0, :size], values[2, :size])
    turned, _ = model.read(read_table({name: cells[::-1] for name, cells in ROWS.items()}))
    np.testing.assert_allclose(turned[::-1], values, rtol=1e-5, atol=1e-6)
