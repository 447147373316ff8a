"""Features of each column, and a linear model, a forest or boosting: whichever cross-validates best.

    python -m defaults_scripts.script FOLDER predictions.npz [WEIGHTS]

FOLDER has what `tables.write_table` wrote. This is what a practitioner types in half an hour: about thirty lines of
scikit-learn. Everything is chosen on the training and validation rows, groups whole; test rows are predicted once. With
a folder of weights the features of texts, pictures and clips are a frozen network's, and the model is linear.
"""

from __future__ import annotations

import json
import sys
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
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from defaults_scripts import features, frozen
from defaults_scripts.tables import GROUP, SPLIT, TEST

Blocks = dict[str, tuple[str, list[str]]]
"""Per block of features its kind and its columns."""
Matrix = np.ndarray | sparse.csr_array
ALL = "all"

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
    """A block's columns to a matrix whose rows have a norm of about 1, so that a large block outweighs no small one."""
    if kind == "text":
        words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
        letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=3, sublinear_tf=True)
        return make_union(words, letters)
    if kind == "category":
        return OneHotEncoder(handle_unknown="ignore")
    shrink = FunctionTransformer(lambda matrix: matrix / np.sqrt(matrix.shape[1]))
    return make_pipeline(SimpleImputer(add_indicator=True), StandardScaler(), shrink)


def matrices(blocks: Blocks, fitted_on: pd.DataFrame, others: pd.DataFrame) -> dict[str, tuple[Matrix, Matrix]]:
    """Per block, and of all together, the rows that the transformers are fitted on, and other rows."""
    result: dict[str, tuple[Matrix, Matrix]] = {}
    for name, (kind, columns) in blocks.items():
        step, chosen = transformer(kind), columns[0] if kind == "text" else columns
        result[name] = (step.fit_transform(fitted_on[chosen]), step.transform(others[chosen]))
    join = sparse.hstack if any(sparse.issparse(known) for known, _ in result.values()) else np.hstack
    return {**result, ALL: tuple(join(side) for side in zip(*result.values(), strict=True))}


def candidates(blocks: Blocks, is_regression: bool, only_linear: bool) -> dict[tuple[str, str], BaseEstimator]:
    """What is tried: models by their block (or all) and name."""
    models: dict[tuple[str, str], BaseEstimator] = {}
    for block in dict.fromkeys([*blocks, ALL] if len(blocks) > 1 else [ALL]):
        for strength in (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0):
            linear = Ridge(1 / strength) if is_regression else LogisticRegression(C=strength, max_iter=300, tol=1e-3)
            models[block, f"linear, C {strength:g}"] = linear
    if only_linear:
        return models
    # A third of the features for regression too: with all of them a forest over letters takes minutes.
    forest = RandomForestRegressor(300, max_features=1 / 3, random_state=0)
    models[ALL, "random forest"] = forest if is_regression else RandomForestClassifier(300, random_state=0)
    if all(kind in ("number", "category", "date") for kind, _ in blocks.values()):
        boosting = HistGradientBoostingRegressor if is_regression else HistGradientBoostingClassifier
        models[ALL, "boosting"] = boosting(random_state=0)
    return models


def predicted(
    model: BaseEstimator, known: Matrix, truth: pd.Series, others: Matrix, classes: np.ndarray | None
) -> np.ndarray:
    """Numbers, or the classes' probabilities, of other rows."""
    if "Boosting" in type(model).__name__ and sparse.issparse(known):
        known, others = known.toarray(), others.toarray()
    fitted = clone(model).fit(known, truth)
    if classes is None:
        return np.asarray(fitted.predict(others))
    output = np.zeros((others.shape[0], len(classes)))
    output[:, np.searchsorted(classes, fitted.classes_)] = fitted.predict_proba(others)
    return output


def score(metric: str, truth: pd.Series, output: np.ndarray, classes: np.ndarray | None) -> float:
    """What cross-validation maximizes; higher is better."""
    if classes is None:
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
    classes = None if facts["is_regression"] else np.unique(truth)
    held_out = {key: np.zeros((len(training), *(() if classes is None else classes.shape))) for key in models}
    for fitted, others in splitter(num_folds, shuffle=True, random_state=0).split(training, truth, training[GROUP]):
        parts = matrices(blocks, training.iloc[fitted], training.iloc[others])
        for key, model in models.items():
            known, unknown = parts[key[0]]
            held_out[key][others] = predicted(model, known, truth.iloc[fitted], unknown, classes)
    scores = {(key,): score(facts["metric"], truth, output, classes) for key, output in held_out.items()}
    best = {block: max((key for key in scores if key[0][0] == block), key=scores.__getitem__) for block, _ in models}
    every = tuple(best[block][0] for block in best)  # `all` comes last
    for several in (every[:-1], every):
        if len(several) > 1:
            mean = np.mean([held_out[key] for key in several], axis=0)
            scores[several] = score(facts["metric"], truth, mean, classes)
    chosen = max(scores, key=scores.__getitem__)
    parts = matrices(blocks, training, test)
    outputs = [predicted(models[key], parts[key[0]][0], truth, parts[key[0]][1], classes) for key in chosen]
    mean = np.mean(outputs, axis=0)
    arrays = {"predicted": mean} if classes is None else {"probabilities": mean, "classes": classes.astype(str)}
    named = {" + ".join(f"{block} {name}" for block, name in keys): value for keys, value in scores.items()}
    np.savez(predictions, chosen=max(named, key=named.__getitem__), scores=json.dumps(named), **arrays)


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
