"""Rankings from tables of choices, items and users: new pictures are ranked by looking at them, and nothing leaks."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import polysense
from polysense.cli.app import main
from polysense.errors import ColumnError

COLORS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220), "yellow": (230, 220, 40)}
NUM_ITEMS, NUM_USERS = 48, 60


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_shop(folder: Path) -> Path:
    """Each user likes one color; the last quarter of the items is chosen in the last quarter of the time alone."""
    draws = np.random.default_rng(0)
    items = []
    for number in range(NUM_ITEMS):
        name = list(COLORS)[number % 4]
        noise = draws.integers(-25, 25, (12, 12, 3))
        Image.fromarray(np.clip(np.array(COLORS[name]) + noise, 0, 255).astype(np.uint8)).save(folder / f"{number}.png")
        items.append({"item_id": f"i{number}", "photo": f"{number}.png"})
    write(folder / "items.csv", items)
    write(folder / "users.csv", [{"user_id": f"u{user}", "age": 20 + user % 30} for user in range(NUM_USERS)])
    rows: list[dict[str, object]] = []
    for user in range(NUM_USERS):
        liked = [number for number in range(NUM_ITEMS) if number % 4 == user % 4]
        old, new = [n for n in liked if n < 36], [n for n in liked if n >= 36]
        chosen = [*draws.permutation(old)[:6], *draws.permutation(new)[:2]]
        times = [*draws.uniform(0, 75, 6), *draws.uniform(75, 100, 2)]
        rows += [{"user_id": f"u{user}", "item_id": f"i{n}", "time": t} for n, t in zip(chosen, times, strict=True)]
    return write(folder / "choices.csv", rows)


@pytest.fixture(scope="module")
def run(run_once: Callable[[str, Callable[[Path], polysense.Run]], polysense.Run]) -> polysense.Run:
    def train(folder: Path) -> polysense.Run:
        return polysense.fit(
            write_shop(folder),
            task="ranking",
            output=folder / "run",
            progress=False,
            overrides=[
                f"data.tables.items.table={folder / 'items.csv'}",
                f"data.tables.users.table={folder / 'users.csv'}",
                "data.transforms={}", "data.split.validation=0.0", "data.split.test=0.25", "model.width=16",
                "training.epochs=12", "training.batch_size=64", "training.tensorboard=false",
                "training.optimizer.lr=0.01", "evaluation.bootstrap=50", "evaluation.samples=2",
                "model.heads.ranking.id_dropout=0.5", "training.ema=null",
            ],
        )  # fmt: skip

    return run_once("ranking", train)


def test_new_pictures_are_ranked_by_looking_at_them(run: polysense.Run) -> None:
    target = run.bundle.schema.target("ranking")
    assert target.item_columns == ("items.photo",)  # type: ignore[attr-defined]
    assert target.num_items == NUM_ITEMS  # type: ignore[attr-defined]
    evaluation = run.evaluations["test"]
    cold = evaluation.statistics["ranking"]["item_count"] == 0
    assert cold.all(), "the test's items are new"
    # Twelve new items, three of each color: chance has one of the best three in a quarter of the cases.
    ranks = evaluation.statistics["ranking"]["rank_alike"]
    assert np.mean(ranks <= 3) > 0.7
    assert run.baselines["test"]["constant"].value("ranking", "recall_at_5") < 0.1
    assert evaluation.metrics["ranking"]["recall_at_20"].has_bounds


def test_the_contribution_says_that_the_picture_is_what_ranks_them(run: polysense.Run) -> None:
    assert run.contributions is not None
    photo = next(each for each in run.contributions.targets[0].columns if each.name == "items.photo")
    assert photo.drop["gain"].low > 0
    assert photo.drop["gain_of_new_items"].value == pytest.approx(photo.drop["gain"].value), "all of them are new"
    assert np.isnan(photo.drop["gain_of_known_items"].value)


def test_users_get_their_color_and_new_users_what_is_popular(run: polysense.Run, tmp_path: Path) -> None:
    users = write(tmp_path / "ask.csv", [{"user_id": "u1"}, {"user_id": "u2"}, {"user_id": "nobody"}, {"user_id": ""}])
    folder = run.folder.parent
    predictions = tmp_path / "ranked.jsonl"
    code = main([
        "predict", str(run.folder), str(users), "-o", str(predictions), "--join", f"users={folder / 'users.csv'}",
        "--join", f"items={folder / 'items.csv'}",
    ])  # fmt: skip
    assert code == 0
    rows = [json.loads(line) for line in predictions.read_text(encoding="utf-8").splitlines()]
    for number, row in zip((1, 2), rows, strict=False):
        first = [int(item[1:]) % 4 for item in row["ranking"][:5]]
        assert first.count(number % 4) >= 4
        assert row["ranking_user_known_by"] == "history"
        assert all(int(item[1:]) % 4 == number % 4 for item in row["ranking_because"])
        assert len(set(row["ranking"])) == 20
    assert rows[2]["ranking_user_known_by"] == rows[3]["ranking_user_known_by"] == "description or popularity"


def test_a_saved_bundle_ranks_as_the_model_did(run: polysense.Run) -> None:
    again = polysense.load(run.folder)
    table = run.folder.parent / "choices.csv"
    sides = {name: run.folder.parent / f"{name}.csv" for name in ("items", "users")}
    scores = polysense.evaluate(again, polysense.read_table(table, join=sides), split="test", bootstrap=0)
    own = run.evaluations["test"].statistics["ranking"]
    assert np.array_equal(scores.evaluation.statistics["ranking"]["rank"], own["rank"])


def test_an_audit_changes_no_cells_of_rows_that_candidates_do_not_have(run: polysense.Run) -> None:
    assert run.audit is not None
    names = {part.name for part in run.audit.parts}
    assert "subsets" in names
    assert not names & {"missing_rates", "mismatch", "corruptions"}


def test_an_evaluation_leaves_predictions_as_they_were(run: polysense.Run, tmp_path: Path) -> None:
    bundle, folder = polysense.load(run.folder), run.folder.parent
    asked = polysense.read_table(write(tmp_path / "ask.csv", [{"user_id": "u1"}, {"user_id": "u2"}]), join={
        "users": folder / "users.csv",
    })  # fmt: skip
    before = bundle.predict(asked).frame["ranking"].to_list()
    # Another catalogue with the same keys, whose pictures are those of other items.
    with (folder / "items.csv").open(newline="", encoding="utf-8") as file:
        items = list(csv.DictReader(file))
    pictures = [str(folder / row["photo"]) for row in items]
    other = write(tmp_path / "items.csv", [
        {**row, "photo": pictures[(i + 1) % len(items)]} for i, row in enumerate(items)
    ])  # fmt: skip
    sides = {"items": other, "users": folder / "users.csv"}
    scored = polysense.evaluate(bundle, polysense.read_table(folder / "choices.csv", join=sides), bootstrap=0)
    assert not bundle.model.candidates
    assert bundle.predict(asked).frame["ranking"].to_list() == before
    new = scored.evaluation.statistics["ranking"]["item_count"] == 0
    ranks = scored.evaluation.statistics["ranking"]["rank_alike"][new]
    assert np.mean(ranks <= 3) < 0.5, "it looks at the pictures that it is given"


def test_what_the_future_holds_is_in_no_history(run: polysense.Run) -> None:
    processor = run.bundle.processor.targets["ranking"]
    known = processor.known  # type: ignore[attr-defined]
    assert known.times.max() < 75.1
    assert (known.item_counts[37:] == 0).all(), "items of the last quarter are counted nowhere"
    neighbors = processor.counted()["neighbors"]
    assert not np.isin(neighbors, range(37, NUM_ITEMS + 1)).any()


def test_the_report_shows_rankings_beside_one_another(run: polysense.Run) -> None:
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    for words in (
        "rankings beside one another",
        "item-kNN over choices",
        "recent popularity",
        "BPR on keys",
        "new items",
    ):
        assert words in page


def test_keys_that_cannot_be_told_are_asked_for(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"who": f"a{i % 3}", "what": f"b{i % 5}", "n": i} for i in range(30)]
    with pytest.raises(ColumnError, match="which column is the user's key can't be told"):
        polysense.fit(write(tmp_path / "t.csv", rows), task="ranking", output=tmp_path / "run", progress=False)
