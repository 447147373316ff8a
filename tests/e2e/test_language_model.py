"""A language model behind a prefix, from a table with questions or conversations to a bundle and back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

import polysense
from polysense.errors import ConfigError, WeightsError

COLORS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220), "white": (230, 230, 230)}

RECIPE = """
data:
  table: {table}
  columns: {{photo: {{type: image}}}}
  targets: {{answer: {target}}}
  split: {{type: fraction, validation: 0, test: 0}}
  modality_dropout: 0
model:
  width: 32
  encoders: {{photo: {{type: image_cnn}}}}
  fusion: {{type: concat}}
  heads: {{answer: {{type: language_model, path: {path}, {head}}}}}
training:
  epochs: {epochs}
  batch_size: 16
  tensorboard: false
  ema: null
  optimizer: {{type: adamw, lr: 0.004}}
evaluation: {{bootstrap: 0}}
"""


def recipe(folder: Path, table: Path, path: Path, *, target: str, head: str, epochs: int = 1) -> Path:
    made = folder / "recipe.yaml"
    made.write_text(RECIPE.format(table=table, path=path, target=target, head=head, epochs=epochs), encoding="utf-8")
    return made


def images(folder: Path) -> list[dict[str, Any]]:
    """Sixteen rows: a colored half of a picture, a question, and what answers it."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(16):
        color, side = list(COLORS)[i % 4], ("left", "right")[i // 4 % 2]
        pixels = np.full((16, 16, 3), 10, dtype=np.uint8)
        pixels[4:12, slice(0, 7) if side == "left" else slice(9, 16)] = COLORS[color]
        Image.fromarray(pixels).save(folder / f"{i}.png")
        requested = ("what color is it?", "which side?")[i // 8]
        rows.append({"photo": f"{i}.png", "question": requested, "answer": (color, side)[i // 8]})
    return rows


PROMPT = '{type: generation, prompt: "See {photo} Question: {question}\\nAnswer:"}'


@pytest.mark.parametrize(
    ("kind", "head", "epochs"),
    [
        pytest.param("llama", "tune: full, learning_rate_scale: 1.0", 60, marks=pytest.mark.slow),
        ("gpt2", "tune: lora, connector: pixel_shuffle", 2),
        ("qwen2", "tune: frozen, connector: perceiver, latents: 4", 2),
    ],
)
def test_pictures_and_questions_to_a_bundle_and_back(
    language_model: Callable[[str], Path], tmp_path: Path, kind: str, head: str, epochs: int
) -> None:
    rows = images(tmp_path / "data")
    table = tmp_path / "data" / "t.csv"
    pl.DataFrame(rows).write_csv(table)
    path = tmp_path / "model"
    shutil.copytree(language_model(kind), path)
    made = recipe(tmp_path, table, path, target=PROMPT, head=head, epochs=epochs)
    run = polysense.fit(made, output=tmp_path / "run", progress=False)
    found = run.bundle.predict(table).frame
    if epochs > 10:
        assert found["answer"].to_list() == [row["answer"] for row in rows]
        # The question counts: row 3 is asked for the color of a white block on the left.
        other = {**rows[3], "question": rows[8]["question"]}
        assert run.bundle.predict(other, root=table.parent).frame["answer"][0] == "left"
    # Neither the language model's folder nor a network is needed any more.
    shutil.rmtree(path)
    loaded = polysense.load(tmp_path / "run")
    again = loaded.predict(pl.read_csv(table).reverse(), root=table.parent).frame
    assert again.reverse().drop("row").equals(found.drop("row"))
    alone = loaded.predict(rows[3], root=table.parent).frame
    assert alone.drop("row").equals(found[3:4].drop("row")), "a row does not depend on its batch mates, bit for bit"
    # Neither a missing picture nor a missing question is an error.
    nothing = loaded.predict([{"photo": ""}, {}], root=table.parent).frame
    assert nothing["missing"].to_list() == ["photo", "photo"]


@pytest.mark.slow
def test_conversations_are_learned(language_model: Callable[[str], Path], tmp_path: Path) -> None:
    rows = images(tmp_path / "data")
    table = tmp_path / "data" / "t.jsonl"
    lines = []
    for row in rows:
        color = row["answer"] if row["answer"] in COLORS else list(COLORS)[int(row["photo"].split(".")[0]) % 4]
        side = ("left", "right")[int(row["photo"].split(".")[0]) // 4 % 2]
        turns = [("user", "<image> what color?"), ("assistant", color), ("user", "which side?"), ("assistant", side)]
        lines.append({"photo": row["photo"], "answer": [{"role": r, "content": c} for r, c in turns]})
    table.write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = recipe(
        tmp_path, table, language_model("qwen2"), target="{type: chat}", head="tune: full, learning_rate_scale: 1.0",
        epochs=60,
    )  # fmt: skip
    run = polysense.fit(made, output=tmp_path / "run", progress=False)
    loaded = polysense.load(tmp_path / "run")
    assert loaded.schema.target("answer").placeholders == ("photo",)
    assert loaded.predict(table).frame["answer"].to_list() == [line["answer"][-1]["content"] for line in lines]
    assert run.bundle.predict(table).frame.equals(loaded.predict(table).frame)
    # The earlier answer was trained on too: asked for the first turn alone, it is given.
    first = [{**line, "answer": line["answer"][:1]} for line in lines]
    colors = [line["answer"][1]["content"] for line in lines]
    assert loaded.predict(first, root=table.parent).frame["answer"].to_list() == colors
    broken = loaded.predict([{**lines[0], "answer": [{"role": "user"}, 7]}, lines[1]], root=table.parent)
    assert broken.frame["answer"][1] == lines[1]["answer"][-1]["content"]
    assert [cell.source.row for cell in broken.unreadable] == [0]
    assert "turn 2: found '7'" in broken.unreadable[0].reason


def test_what_is_wrong_is_said_before_training(language_model: Callable[[str], Path], tmp_path: Path) -> None:
    table = tmp_path / "data" / "t.csv"
    pl.DataFrame(images(table.parent)).write_csv(table)
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(language_model("llama") / name, folder)
    made = recipe(tmp_path, table, folder, target=PROMPT, head="tune: frozen")
    with pytest.raises(WeightsError, match="holds no tokenizer"):
        polysense.fit(made, output=tmp_path / "a", progress=False)
    found = polysense.check(made)
    assert not found.ok
    assert "holds no tokenizer" in " ".join(found.text().split())
    path = language_model("gpt2")
    long = '{type: generation, max_tokens: null, max_prompt_tokens: null, prompt: "' + "word " * 90 + '{question}"}'
    made = recipe(tmp_path, table, path, target=long, head="tune: frozen")
    with pytest.raises(ConfigError, match=r"96 tokens.*prompt"):
        polysense.fit(made, output=tmp_path / "b", progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("prompt", ["{question}", "See {photo}: {question}"])
def test_a_decoder_from_scratch_goes_on_from_prompts_too(tmp_path: Path, prompt: str) -> None:
    rows = images(tmp_path / "data")
    table = tmp_path / "data" / "t.csv"
    pl.DataFrame(rows).write_csv(table)
    made = recipe(tmp_path, table, tmp_path, target=f'{{type: generation, prompt: "{prompt}"}}', head="", epochs=80)
    text = made.read_text().replace(f"type: language_model, path: {tmp_path}, ", "type: generation, dropout: 0")
    made.write_text(text)
    run = polysense.fit(made, output=tmp_path / "run", progress=False)
    found = run.bundle.predict(table).frame
    assert found["answer"].to_list() == [row["answer"] for row in rows]
    alone = polysense.load(tmp_path / "run").predict(rows[5], root=table.parent).frame
    assert alone.drop("row").equals(found[5:6].drop("row"))
