"""Every input column that has features without weights gets them, and nothing else does."""

from __future__ import annotations

import dataclasses

from polysense.core.registry import modalities
from polysense.core.role import Role
from polysense.data.roles.infer import infer
from polysense.data.tables.sources import read_table
from polysense.presets import recipe_for
from polysense.presets.features import default_features


def test_inputs_have_the_features_of_their_modality() -> None:
    rows = 40
    table = read_table(
        {
            "id": [f"a{i:05d}" for i in range(rows)],
            "note": [f"some words about case {i} and {i % 7} more" for i in range(rows)],
            "age": [20.5 + 1.3 * i for i in range(rows)],
            "city": [("Oslo", "Bern", "Rome")[i % 3] for i in range(rows)],
            "label": ["x", "y"] * (rows // 2),
        }
    )
    guesses = infer(table, ["label"])
    features = default_features(guesses, rows)
    assert {name: [each.type for each in configs] for name, configs in features.items()} == {
        "note": ["word_tfidf", "character_tfidf"],
        "age": ["value_and_quantile"],
        "city": ["one_hot"],
    }
    assert recipe_for(guesses, rows).data.features == features
    as_text = [
        dataclasses.replace(guess, task="generation") if guess.role is Role.TARGET else guess for guess in guesses
    ]
    assert not recipe_for(as_text, rows).data.features, "where nobody reads them there are none"


def test_every_modality_of_polysense_has_some() -> None:
    own = {name: spec for name, spec in modalities().items() if type(spec).__module__.startswith("polysense.")}
    assert all(spec.default_features(100) for spec in own.values())
