"""Features of each column, and a linear model, a forest or boosting: whichever cross-validates best.

    python -m defaults_scripts.script FOLDER predictions.npz [WEIGHTS]

FOLDER has what `tables.write_table` wrote. This is what a practitioner types in half an hour: about thirty lines of
scikit-learn. Everything is chosen on the training and validation rows, groups whole; test rows are predicted once. With
a folder of weights the features of texts, pictures and clips are a frozen network's, and the model is linear.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, f1_score, r2_score, roc_auc_score
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from defaults_scripts import features, frozen
from defaults_scripts.tables import GROUP, SPLIT, TEST

Blocks = dict[str, tuple[str, list[str]]]
"""Per block of features its kind and its columns."""

VECTORS = {
    "image": features.image_features,
    "audio": features.audio_features,
    "series": features.series_features,
    "date": features.date_features,
}


def column_features(kind: str, cells: pd.Series, weights: Path | None) -> pd.DataFrame | None:
    """Vectors that nothing has to be fitted for; None: the transformers below read the cells."""
    if weights is not None and kind in frozen.KINDS:
        vectors = frozen.frozen_features(kind, [None if pd.isna(cell) else str(cell) for cell in cells], weights)
    elif kind in VECTORS:
        made = [None if pd.isna(cell) else VECTORS[kind](str(cell)) for cell in cells]
        size = next(len(vector) for vector in made if vector is not None)
        vectors = np.stack([np.full(size, np.nan, np.float32) if vector is None else vector for vector in made])
    else:
        return None
    return pd.DataFrame(vectors).add_prefix(f"{cells.name}.")


def transformer(kind: str) -> BaseEstimator:
    """A block's columns to a matrix."""
    if kind == "text":
        words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
        letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=3, sublinear_tf=True)
        return make_union(words, letters)
    if kind == "category":
        return OneHotEncoder(handle_unknown="ignore")
    return make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())


def matrices(blocks: Blocks, fitted_on: pd.DataFrame, others: pd.DataFrame) -> list[tuple[sparse.csr_array, ...]]:
    """Per block the matrix of the rows that its transformer is fitted on, and that of other rows."""
    result = []
    for kind, columns in blocks.values():
        step, chosen = transformer(kind), columns[0] if kind == "text" else columns
        result.append((step.fit_transform(fitted_on[chosen]), step.transform(others[chosen])))
    return result


def candidates(blocks: Blocks, is_regression: bool, only_linear: bool) -> dict[str, tuple[BaseEstimator, bool]]:
    """What is tried, by name: a model, and whether there is one for each block, of which the mean is taken."""
    models: dict[str, tuple[BaseEstimator, bool]] = {}
    for strength in (0.0003, 0.003, 0.03, 0.3, 3.0, 30.0):
        linear = Ridge(1 / strength) if is_regression else LogisticRegression(C=strength, max_iter=300, tol=1e-3)
        models[f"linear, C {strength:g}"] = (linear, False)
        if len(blocks) > 1:
            models[f"mean over columns, C {strength:g}"] = (linear, True)
    if only_linear:
        return models
    forest = RandomForestRegressor if is_regression else RandomForestClassifier
    models["random forest"] = (forest(300, random_state=0), False)
    if all(kind in ("number", "category", "date") for kind, _ in blocks.values()):
        boosting = HistGradientBoostingRegressor if is_regression else HistGradientBoostingClassifier
        models["boosting"] = (boosting(random_state=0), False)
    return models


def predicted(
    model: BaseEstimator, for_each: bool, parts: Sequence[tuple[sparse.csr_array, ...]], truth: pd.Series
) -> np.ndarray:
    """Numbers, or the classes' probabilities, of the other rows."""
    if not for_each:
        join = sparse.hstack if any(sparse.issparse(matrix) for part in parts for matrix in part) else np.hstack
        parts = [tuple(join(side) for side in zip(*parts, strict=True))]
    outputs = []
    for known, others in parts:
        dense = "Boosting" in type(model).__name__ and sparse.issparse(known)
        fitted = clone(model).fit(known.toarray() if dense else known, truth)
        predict = getattr(fitted, "predict_proba", fitted.predict)
        outputs.append(predict(others.toarray() if dense else others))
    return np.mean(outputs, axis=0)


def score(metric: str, truth: pd.Series, output: np.ndarray, classes: np.ndarray) -> float:
    """What cross-validation maximizes; higher is better."""
    if metric == "r2":
        return float(r2_score(truth, output))
    if metric == "auroc":
        return float(roc_auc_score(truth == classes[1], output[:, 1]))
    labels = classes[output.argmax(axis=1)]
    return float(accuracy_score(truth, labels) if metric == "accuracy" else f1_score(truth, labels, average="weighted"))


def main(folder: Path, predictions: Path, weights: Path | None = None) -> None:
    facts = json.loads((folder / "table.json").read_text(encoding="utf-8"))
    kinds, target = facts["kinds"], facts["target"]
    types = dict.fromkeys([target, GROUP], str) | {name: str for name, kind in kinds.items() if kind != "number"}
    frame = pd.read_csv(folder / "scripts.csv", dtype=types, keep_default_na=False, na_values=[""])
    blocks: dict[str, tuple[str, list[str]]] = {}
    for name, kind in kinds.items():
        vectors = column_features(kind, frame[name], weights)
        if vectors is not None:
            frame = pd.concat([frame, vectors], axis=1)
            blocks[name] = ("date" if kind == "date" else "vector", list(vectors.columns))
        elif kind == "number":
            blocks["numbers"] = ("number", [*blocks.get("numbers", ("", []))[1], name])
        else:
            if kind == "text":
                frame[name] = frame[name].fillna("")
            blocks[name] = (kind, [name])
    is_test = frame[SPLIT] == TEST
    training, test = frame[~is_test], frame[is_test]
    truth = training[target].astype(float) if facts["is_regression"] else training[target]
    num_folds = 5 if len(training) <= 1000 else 3
    splitter = GroupKFold if facts["is_regression"] else StratifiedGroupKFold
    models = candidates(blocks, facts["is_regression"], only_linear=weights is not None)
    scores: dict[str, list[float]] = {name: [] for name in models}
    for fitted, held_out in splitter(num_folds, shuffle=True, random_state=0).split(training, truth, training[GROUP]):
        parts = matrices(blocks, training.iloc[fitted], training.iloc[held_out])
        for name, (model, for_each) in models.items():
            output = predicted(model, for_each, parts, truth.iloc[fitted])
            classes = np.unique(truth.iloc[fitted])
            scores[name].append(score(facts["metric"], truth.iloc[held_out], output, classes))
    means = {name: float(np.nanmean(values)) for name, values in scores.items()}
    chosen = max(means, key=means.__getitem__)
    result = predicted(*models[chosen], matrices(blocks, training, test), truth)
    arrays = {"predicted": result} if facts["is_regression"] else {"probabilities": result, "classes": np.unique(truth)}
    arrays = {name: array.astype(str) if name == "classes" else array for name, array in arrays.items()}
    np.savez(predictions, chosen=chosen, scores=json.dumps(means), **arrays)


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
