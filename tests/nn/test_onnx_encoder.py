"""Networks in ONNX format: torch's own export gives the same numbers, in a bundle too, and no file leads elsewhere."""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from backbone_folders import write_tokenizer
from PIL import Image
from torch import Tensor, nn

import polysense
from polysense.core.batch import ColumnBatch
from polysense.errors import ConfigError, WeightsError
from polysense.modalities.audio.record import AudioColumn, AudioRequirements
from polysense.modalities.image.record import ImageColumn, ImageRequirements
from polysense.modalities.text.record import TextColumn, TextRequirements
from polysense.nn import onnx_file
from polysense.nn.onnx_encoder import OnnxConfig

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)


class Picture(nn.Module):
    """A map, and its mean."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 6, 3, stride=2)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.layer(pixels).relu()
        return maps, maps.mean(dim=(2, 3))


class Words(nn.Module):
    """A token's embedding plus the mean of the text's."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(120, 6)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        values = self.embedding(input_ids) * attention_mask[..., None]
        return values + values.sum(dim=1, keepdim=True) / attention_mask.sum(dim=1)[:, None, None]


class Sound(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv1d(1, 6, 200, stride=80)

    def forward(self, samples: Tensor) -> Tensor:
        return self.layer(samples[:, None]).transpose(1, 2)


def export(model: nn.Module, inputs: dict[str, Tensor], path: Path, outputs: list[str], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter itself
        torch.onnx.export(
            model.eval(),
            kwargs=inputs,
            f=path,
            input_names=list(inputs),
            output_names=outputs,
            dynamo=True,
            verbose=False,
            external_data=options.pop("external_data", False),
            **options,
        )
    return path


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "picture.onnx"
    return export(Picture(), {"pixels": torch.randn(1, 3, 20, 24)}, path, ["maps", "pooled"])


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "words.onnx"
    length = torch.export.Dim("length", min=2, max=512)
    ids = torch.ones(1, 5, dtype=torch.int64)
    shapes = {"input_ids": {1: length}, "attention_mask": {1: length}}
    export(Words(), {"input_ids": ids, "attention_mask": ids.clone()}, path, ["hidden"], dynamic_shapes=shapes)
    write_tokenizer(path.parent)
    return path


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "sound.onnx"
    shapes = {"samples": {1: torch.export.Dim("samples", min=400, max=10_000_000)}}
    return export(Sound(), {"samples": torch.randn(1, 8000)}, path, ["hidden"], dynamic_shapes=shapes)


PHOTO = ImageColumn(name="photo", image_size=(20, 24), num_channels=3, mean=MEAN, std=STD)


def test_images_give_torchs_numbers(picture: Path) -> None:
    config = OnnxConfig(path=str(picture), mean=MEAN, std=STD)
    assert config.requirements("photo", "image") == ImageRequirements(
        image_size=(20, 24), num_channels=3, mean=MEAN, std=STD
    )
    encoder = config.create(PHOTO, 8)
    pixels = torch.randint(0, 256, (3, 3, 20, 24), dtype=torch.uint8)
    lengths = torch.tensor([1, 0, 1])
    (tokens,) = encoder.backbone(pixels, lengths).layers  # type: ignore[operator]
    mean, std = (torch.tensor(each)[:, None, None] for each in (MEAN, STD))
    maps, pooled = Picture()((pixels / 255 - mean) / std)
    assert tokens.grid == (9, 11)
    expected = maps.flatten(2).transpose(1, 2)
    torch.testing.assert_close(tokens.values[[0, 2]], expected[[0, 2]], rtol=1e-5, atol=1e-5)
    assert tokens.mask.any(dim=1).tolist() == [True, False, True]
    for options, wanted in (
        ({"output": "pooled"}, pooled),
        ({"pooling": "mean"}, maps.mean(dim=(2, 3))),
        ({"pooling": "first"}, expected[:, 0]),
        ({"pooling": "last"}, expected[:, -1]),
    ):
        other = OnnxConfig(path=str(picture), mean=MEAN, std=STD, **options).create(PHOTO, 8)  # type: ignore[arg-type]
        (tokens,) = other.backbone(pixels, lengths).layers  # type: ignore[operator]
        assert tokens.values.shape[1] == 1
        torch.testing.assert_close(tokens.values[[0, 2], 0], wanted[[0, 2]], rtol=1e-5, atol=1e-5)


def test_only_what_lies_over_it_is_trained(picture: Path) -> None:
    encoder = OnnxConfig(path=str(picture), mean=MEAN, std=STD).create(PHOTO, 8)
    batch = ColumnBatch(values=torch.zeros(2, 1, 3, 20, 24, dtype=torch.uint8), lengths=torch.ones(2, 1).long())
    encoder(batch).values.sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())
    assert not any(name.startswith("network") for name, _ in encoder.named_parameters())


def test_texts_give_torchs_numbers_at_their_own_length(words: Path) -> None:
    config = OnnxConfig(path=str(words))
    assert config.requirements("note", "text") == TextRequirements(tokenizer=str(words.parent / "tokenizer.json"))
    encoder = config.create(TextColumn(name="note", vocabulary_size=120), 8)
    ids = torch.randint(0, 120, (3, 8), dtype=torch.int32)
    lengths = torch.tensor([8, 3, 5])
    (tokens,) = encoder.backbone(ids, lengths).layers  # type: ignore[operator]
    for row, length in enumerate(lengths.tolist()):
        expected = Words()(ids[row : row + 1, :length].long(), torch.ones(1, length))[0]
        torch.testing.assert_close(tokens.values[row, :length], expected, rtol=1e-5, atol=1e-5)
        assert tokens.mask[row].sum() == length
    # A row's bits do not depend on the rows beside it.
    with torch.inference_mode():
        (alone,) = encoder.backbone(ids[1:2], lengths[1:2]).layers  # type: ignore[operator]
        (both,) = encoder.backbone(ids, lengths).layers  # type: ignore[operator]
    assert torch.equal(alone.values[0], both.values[1])


def test_clips_give_torchs_numbers_at_their_own_length(sound: Path) -> None:
    config = OnnxConfig(path=str(sound), sample_rate=8000)
    assert config.requirements("clip", "audio") == AudioRequirements(sample_rate=8000)
    encoder = config.create(AudioColumn(name="clip", sample_rate=8000, typical_length=1600), 8)
    samples = torch.randint(-9000, 9000, (3, 2000), dtype=torch.int16)
    lengths = torch.tensor([2000, 900, 10])
    (tokens,) = encoder.backbone(samples, lengths).layers  # type: ignore[operator]
    for row, length in enumerate([2000, 900]):
        expected = Sound()(samples[row : row + 1, :length].float() / 32768)[0]
        torch.testing.assert_close(tokens.values[row, : len(expected)], expected, rtol=1e-5, atol=1e-5)
        assert tokens.mask[row].sum() == len(expected)
    assert tokens.mask[2].any()  # filled up with silence


def test_copies_in_other_processes_work(picture: Path) -> None:
    encoder = OnnxConfig(path=str(picture), mean=MEAN, std=STD).create(PHOTO, 8)
    pixels, lengths = torch.zeros(1, 3, 20, 24, dtype=torch.uint8), torch.tensor([1])
    before = encoder.backbone(pixels, lengths).layers[0].values  # type: ignore[operator]
    for again in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        assert torch.equal(again.backbone(pixels, lengths).layers[0].values, before)


def test_weights_beside_the_model_come_along(tmp_path: Path) -> None:
    path = tmp_path / "there" / "picture.onnx"
    export(Picture(), {"pixels": torch.randn(1, 3, 20, 24)}, path, ["maps", "pooled"], external_data=True)
    assert (path.parent / "picture.onnx.data").is_file()
    encoder = OnnxConfig(path=str(path), mean=MEAN, std=STD).create(PHOTO, 8)
    encoder.save_resources(tmp_path / "resources")
    names = {each.name for each in (tmp_path / "resources").iterdir()}
    assert names == {"model.onnx", "picture.onnx.data"}
    for file in path.parent.iterdir():
        file.unlink()
    again = OnnxConfig(path=str(path), mean=MEAN, std=STD).create(PHOTO, 8, tmp_path / "resources")
    again.load_state_dict(encoder.state_dict())
    pixels, lengths = torch.full((1, 3, 20, 24), 7, dtype=torch.uint8), torch.tensor([1])
    values = [each.backbone(pixels, lengths).layers[0].values for each in (encoder, again)]  # type: ignore[operator]
    assert torch.equal(*values)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "below/weights", "link"])
def test_weights_elsewhere_are_refused(name: str, tmp_path: Path) -> None:
    import onnx

    (tmp_path / "secret").write_bytes(b"\0" * 1000)
    folder = tmp_path / "there"
    path = folder / "picture.onnx"
    export(Picture(), {"pixels": torch.randn(1, 3, 20, 24)}, path, ["maps", "pooled"], external_data=True)
    (folder / "below").mkdir()
    (folder / "below" / "weights").write_bytes(b"\0" * 1000)
    (folder / "link").symlink_to(tmp_path / "secret")
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = name
    path.write_bytes(model.SerializeToString())
    with pytest.raises(WeightsError, match="which is not beside it; polysense reads no other file"):
        OnnxConfig(path=str(path), mean=MEAN, std=STD).create(PHOTO, 8)


def test_weights_elsewhere_are_found_in_graphs_within_graphs() -> None:
    import onnx
    from onnx import TensorProto, helper

    inner = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    inner.external_data.add(key="location", value="../there")
    constant = helper.make_node("Constant", [], ["y"], value=inner)
    branch = helper.make_graph([constant], "branch", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])])
    node = helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch)
    graph = helper.make_graph([node], "main", [], [])
    for model in (
        helper.make_model(graph),
        helper.make_model(
            helper.make_graph([], "main", [], []),
            functions=[helper.make_function("own", "f", ["c"], ["z"], [node], [onnx.OperatorSetIdProto(version=20)])],
        ),
    ):
        assert onnx_file._locations(model.SerializeToString(), Path("m")) == {"../there"}


def test_what_can_not_be_run_is_named(
    picture: Path, words: Path, sound: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    def ask(modality: str = "image", **keys: Any) -> None:
        keys.setdefault("path", str(picture))
        OnnxConfig(**keys).requirements("c", modality)

    with pytest.raises(WeightsError, match="no such file; expected an ONNX model"):
        ask(path=str(tmp_path / "none.onnx"))
    for junk in (b"", b"hello", picture.read_bytes()[:200], b"\xff" * 50):
        (tmp_path / "junk.onnx").write_bytes(junk)
        with pytest.raises(WeightsError, match=r"is no ONNX model|onnxruntime can't load it"):
            ask(path=str(tmp_path / "junk.onnx"))
    with pytest.raises(ConfigError, match="has no output 'logits'; expected one of maps, pooled"):
        ask(mean=MEAN, std=STD, output="logits")
    with pytest.raises(ConfigError, match="mean and std are needed"):
        ask()
    with pytest.raises(ConfigError, match="found 1 numbers as mean and 1 as std, expected 3"):
        ask(mean=(0.5,), std=(0.5,))
    with pytest.raises(ConfigError, match=r"found \[8, 8\], but the model takes \[20, 24\]"):
        ask(mean=MEAN, std=STD, image_size=(8, 8))
    with pytest.raises(ConfigError, match=r"model.encoders.c.sample_rate: is not for a column of images"):
        ask(mean=MEAN, std=STD, sample_rate=8000)
    with pytest.raises(ConfigError, match="std: found"):
        ask(mean=MEAN, std=(0.0, 1.0, 1.0))
    with pytest.raises(ConfigError, match=r"takes float32 \[1, 3, 20, 24\], expected floats \[1, samples\]"):
        ask("audio", sample_rate=8000)
    with pytest.raises(ConfigError, match="has the inputs pixels, expected input_ids"):
        ask("text")
    with pytest.raises(ConfigError, match="sample_rate: is needed"):
        ask("audio", path=str(sound))
    with pytest.raises(ConfigError, match=r"there is no .*none\.json; name the model's"):
        ask("text", path=str(words), tokenizer=str(tmp_path / "none.json"))
    with pytest.raises(ConfigError, match=r"takes .*column 'c' is number"):
        OnnxConfig(path=str(picture)).check_modality("c", "number")
    monkeypatch.setattr(onnx_file, "_MOST_BYTES", 100)
    with pytest.raises(WeightsError, match="more than the 100 that an ONNX encoder may have"):
        ask(mean=MEAN, std=STD)


def test_a_bundle_has_it_inside(picture: Path, tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    for index in range(24):
        Image.fromarray(draws.integers(0, 256, (24, 30, 3), dtype=np.uint8)).save(tmp_path / f"{index}.png")
    table = tmp_path / "t.csv"
    pl.DataFrame({"photo": [f"{index}.png" for index in range(24)], "label": list("ab") * 12}).write_csv(table)
    model = tmp_path / "net.onnx"
    model.write_bytes(picture.read_bytes())
    encoder = f"{{type: onnx, path: {model}, mean: [0.5, 0.4, 0.3], std: [0.2, 0.3, 0.25], output: pooled}}"
    overrides = [f"model.encoders.photo={encoder}", "training.epochs=1", "training.tensorboard=false", "model.width=8"]
    run = polysense.fit(table, target="label", output=tmp_path / "run", overrides=overrides, progress=False)
    expected = polysense.predict(run.bundle, table).frame
    model.unlink()
    assert polysense.predict(tmp_path / "run", table).frame.equals(expected)
