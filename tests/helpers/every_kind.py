"""A table with a column of every registered modality and targets of every task, for tests over the registry.

A kind that is not written down here brings its own: `example_cell.py` in a modality's tests' folder, with
`example_cell(index)`, and `example_target.py` in a task's, with `example_target(index, folder) -> cell`,
`OVER` (the modality of the column that the target lies in, or None) and `settings(column)` (of its config, when it lies
in that column).
"""

from __future__ import annotations

import importlib
import json
import runpy
import wave
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from backbone_folders import save_recognizer
from PIL import Image

from polysense.config.codec import from_dict
from polysense.core.registry import modalities, modality, tasks
from polysense.data.features import FeatureConfig

__all__ = [
    "CHOICES",
    "EXAMPLES",
    "LARGE",
    "READS",
    "ROWS",
    "TARGETS",
    "features_of",
    "lies_in",
    "needs_of",
    "settings_of",
    "write_rows",
]

ROWS = 6
"""Rows that hold something; one more holds nothing."""

TARGETS = {
    "classification": "kind",
    "multilabel": "tags",
    "regression": "size",
    "generation": "caption",
    "tagging": "parts",
    "retrieval": "space",
    "reconstruction": "whole",
}
"""The name of each task's target."""

LARGE = ("resnet18", "resnet34", "resnet50", "vgg", "convnext")
"""Encoders that take seconds; all but one of them are left to slow tests."""

READS = {"pretrained": ("image", "video"), "onnx": ("image", "video")}
"""The modalities of the model that `needs_of` has for an encoder, where it is not of all that the encoder reads."""

CHOICES = frozenset({"auto", "recognizer", "generator"})
"""Encoders and heads that stand for others, one of which is chosen before a model is built."""

TESTS = Path(__file__).parents[1]
WORDS = ("red apple", "green pear", "blue plum", "left unsaid")
SEGMENTS = {"text": lambda i: [[2, 2 + len(WORDS[i % 4]), "thing"]], "audio": lambda i: [[0.02, 0.06, "noise"]]}


EXAMPLES: dict[str, dict[str, Any]] = {
    name: runpy.run_path(str(path))
    for name in tasks()
    if (path := TESTS / "tasks" / name / "example_target.py").exists()
}
"""What tasks bring themselves; each has a column of its own."""

TARGETS |= {name: f"the {name}" for name in EXAMPLES}


def lies_in(name: str) -> tuple[str, ...]:
    """The modalities of the columns that a task's target can lie in; none where it is about the row."""
    if name in EXAMPLES:
        over: str | None = EXAMPLES[name]["OVER"]
        return () if over is None else (over,)
    return tuple(SEGMENTS) if name == "tagging" else ()


def features_of(kind: str) -> tuple[FeatureConfig, ...]:
    """A modality's default features."""
    return tuple(from_dict(FeatureConfig, dict(plain), where="test") for plain in modality(kind).default_features(9))


def settings_of(name: str, column: str | None = None, members: tuple[str, ...] = ()) -> dict[str, Any]:
    """A target config's settings.

    Args:
        name: The task.
        column: The input column that its target lies in.
        members: The input columns that it embeds or reconstructs.
    """
    if name in EXAMPLES:
        settings: dict[str, Any] = EXAMPLES[name]["settings"](column)
        return settings
    return {
        "multilabel": {"delimiter": ","},
        "tagging": {"over": column},
        "retrieval": {"columns": members} if members else {},
        "reconstruction": {"columns": members} if members else {},
    }.get(name, {})


def write_rows(root: Path) -> list[dict[str, Any]]:
    """Writes the files of a table; each column is empty in some row, and one row is empty altogether.

    Columns are named like their modality, targets as in TARGETS; one that lies in a column of a modality, "TARGET of
    MODALITY".
    """
    generator = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for index in range(ROWS):
        Image.fromarray(generator.integers(0, 255, (20, 24, 3), dtype=np.uint8)).save(root / f"{index}.png")
        samples = (3000 * generator.standard_normal(700 + 100 * index)).astype("<i2")
        with wave.open(str(root / f"{index}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(samples.tobytes())
        cells = {
            "text": f"a {WORDS[index % 4]} lay here for {index} days",
            "image": f"{index}.png",
            "audio": f"{index}.wav",
            "number": str(index / 3),
            "category": ("north", "south", "east")[index % 3],
            "date": f"2024-0{1 + index}-1{index} 0{index}:30:00",
        }
        for kind in modalities():
            example = TESTS / "modalities" / kind / "example_cell.py"
            if kind not in cells and example.exists():
                (root / f"{index}.{kind}").write_bytes(runpy.run_path(str(example))["example_cell"](index))
                cells[kind] = f"{index}.{kind}"
        assert set(cells) == set(modalities()), "a modality's tests bring an example_cell.py"
        targets: dict[str, Any] = {
            "kind": "ab"[index % 2], "tags": ("x", "x,y", "y", "")[index % 4], "size": str(float(index)),
            "caption": ("", "a fruit", "two ripe fruits")[index % 3],
        }  # fmt: skip
        targets |= {f"parts of {kind}": json.dumps(segments(index)) for kind, segments in SEGMENTS.items()}
        for name, example in EXAMPLES.items():
            column = TARGETS[name] + ("" if example["OVER"] is None else f" of {example['OVER']}")
            targets[column] = example["example_target"](index, root)
        rows.append({**{k: "" if i % ROWS == index else c for i, (k, c) in enumerate(cells.items())}, **targets})
    last = {"kind": "a", "tags": "y", "size": "2.5", "caption": "nothing"}
    return [*rows, {**dict.fromkeys(rows[0], ""), **last}]


def save_onnx(path: Path) -> None:
    """A convolution over images of 16 pixels, in ONNX format."""
    import onnx

    rng = np.random.default_rng(0)
    weight = onnx.numpy_helper.from_array(rng.normal(size=(5, 3, 8, 8)).astype(np.float32), "weight")
    node = onnx.helper.make_node("Conv", ["pixels", "weight"], ["maps"], strides=[8, 8])
    floats = onnx.TensorProto.FLOAT
    inputs = [onnx.helper.make_tensor_value_info("pixels", floats, [1, 3, 16, 16])]
    outputs = [onnx.helper.make_tensor_value_info("maps", floats, [1, 5, 2, 2])]
    graph = onnx.helper.make_graph([node], "network", inputs, outputs, [weight])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9), path)


def needs_of(root: Path, language_model: Callable[[str], Path]) -> Mapping[str, dict[str, Any]]:
    """What encoders and heads need that can't be built from their defaults, or are large: files are written to a
    folder."""
    transformers: Any = importlib.import_module("transformers")
    settings = transformers.ViTConfig(
        image_size=16, patch_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    transformers.ViTModel(settings).save_pretrained(root / "vit")
    preprocessing = {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": 16, "width": 16},
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.2, 0.2, 0.2],
    }
    (root / "vit" / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    videos = transformers.VideoMAEConfig(
        image_size=16,
        patch_size=8,
        num_frames=2,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
    )
    transformers.VideoMAEModel(videos).save_pretrained(root / "videos")
    save_onnx(root / "network.onnx")
    save_recognizer(root / "recognizer")
    lines = [f"{word} {' '.join(['0.5'] * 5)}" for word in ("red", "apple", "lay")]
    (root / "vectors.txt").write_text("\n".join(lines))
    return {
        "pretrained": {"path": str(root / "vit")},
        "pretrained_video": {"path": str(root / "videos")},
        "onnx": {"path": str(root / "network.onnx"), "mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)},
        "timm": {"name": "test_resnet", "pretrained": False, "tune": "full"},
        "word_vectors": {"path": str(root / "vectors.txt")},
        # Small ones of their kind.
        "convnext": {"size": "atto"},
        "vgg": {"depth": 11},
        "vit": {"num_layers": 1},
        # Heads.
        "language_model": {"path": str(language_model("gpt2")), "connector": "perceiver", "latents": 2},
        "pretrained_decoder": {"path": str(root / "recognizer")},
    }
