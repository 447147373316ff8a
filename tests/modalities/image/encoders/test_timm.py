"""timm backbones on small networks that are built and saved here; no network is needed."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from polysense.core.batch import ColumnBatch
from polysense.core.schema import Column
from polysense.errors import ConfigError, WeightsError
from polysense.modalities.image.encoders.timm import Timm, TimmConfig
from polysense.modalities.image.record import ImageColumn, ImageRequirements

timm: Any = importlib.import_module("timm")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def column(height: int = 32, width: int = 32, channels: int = 3) -> Column:
    return ImageColumn(
        name="photo",
        image_size=(height, width),
        num_channels=channels,
        mean=(0.5, 0.4, 0.3)[:channels],
        std=(0.2, 0.2, 0.3)[:channels],
    )


def images(of: Column, lengths: list[int]) -> ColumnBatch:
    assert of.image_size is not None
    shape = (len(lengths), 1, of.num_channels or 1, *of.image_size)
    values = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    return ColumnBatch(values=values, lengths=torch.tensor(lengths)[:, None])


def random(name: str, of: Column) -> Timm:
    torch.manual_seed(0)
    return TimmConfig(name=name, pretrained=False, tune="full").build(of, 8)


@pytest.mark.parametrize(
    ("name", "grid"),
    [
        ("resnet10t", (2, 3)),
        ("test_convnext", (2, 3)),
        ("test_efficientnet", (2, 3)),
        ("test_vit", (25,)),  # patches of 16 px and a class token
        ("mobilenetv3_small_050", (2, 3)),
        ("swin_tiny_patch4_window7_224", (2, 3)),
    ],
)
def test_any_architecture(name: str, grid: tuple[int, ...]) -> None:
    of = column(64, 96, channels=1)
    encoder = random(name, of)
    batch = images(of, [1, 0, 1])
    tokens = encoder(batch)
    assert tokens.grid == grid
    assert tokens.present.tolist() == [True, False, True]
    tokens.values.sum().backward()
    open_parameters = [p for p in encoder.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in open_parameters)
    assert sum(p.numel() for p in open_parameters) > 0.4 * sum(p.numel() for p in encoder.parameters())
    encoder.eval()
    tokens = encoder(batch)
    assert not tokens.values[1].any()
    alone = encoder(ColumnBatch(values=batch.values[2:], lengths=batch.lengths[2:]))
    torch.testing.assert_close(alone.values, tokens.values[2:], rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        hidden = encoder.network.forward_features(encoder.standardize(batch.values[[0, 2], 0]))
    values = tokens.values[[0, 2]]
    if hidden.dim() == 4:
        hidden = hidden if hidden.shape[-1] == encoder.network.num_features else hidden.permute(0, 2, 3, 1)
        expected = encoder.projection(encoder.norms[0](hidden)).mean(dim=(1, 2))
        offset = (values - encoder.projection(encoder.norms[0](hidden)).flatten(1, 2)).mean(dim=1)
        torch.testing.assert_close(values.mean(dim=1) - offset, expected, rtol=1e-4, atol=1e-4)
        assert offset.abs().max() < 0.1001  # the positions that all feature maps' tokens get
    else:
        torch.testing.assert_close(values, encoder.projection(encoder.norms[0](hidden)), rtol=1e-4, atol=1e-4)


def test_absent_pictures_stay_out_of_batch_statistics() -> None:
    of = column()
    batch = images(of, [1, 0, 1, 1])
    encoder, reference = random("resnet10t", of), random("resnet10t", of)
    encoder(batch)
    reference(ColumnBatch(values=batch.values[[0, 2, 3]], lengths=batch.lengths[[0, 2, 3]]))
    torch.testing.assert_close(encoder.state_dict(), reference.state_dict())
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    for lengths in ([1, 0, 0, 0], [0, 0, 0, 0]):  # a map of one cell: one value per channel, then none
        encoder.zero_grad()
        tokens = encoder(images(of, lengths))
        (tokens.values.pow(2) * tokens.mask[..., None]).sum().backward()
        assert tokens.values.isfinite().all()
        assert all(p.grad is not None for p in encoder.parameters() if p.requires_grad)
    torch.testing.assert_close(dict(encoder.state_dict()), before)


def test_blocks_that_stay_closed_keep_their_statistics(tmp_path: Path) -> None:
    of = column()
    torch.save(random("resnet10t", of).network.state_dict(), tmp_path / "w.pth")
    encoder = TimmConfig(name="resnet10t", weights=str(tmp_path / "w.pth"), tune=1).build(of, 8)
    before = {key: value.clone() for key, value in encoder.network.state_dict().items()}
    encoder(images(of, [1, 1, 1])).values.sum().backward()
    changed = {key.split(".")[0] for key, value in encoder.network.state_dict().items() if not value.equal(before[key])}
    assert changed == {"layer4"}
    assert {key.split(".")[0] for key, p in encoder.network.named_parameters() if p.requires_grad} == {"layer4"}


def test_a_bundle_needs_no_original(tmp_path: Path) -> None:
    of = column(32, 48, channels=1)
    source = timm.create_model("test_vit", num_classes=5, in_chans=1, img_size=(32, 48))
    nn.init.normal_(source.pos_embed)
    source.pretrained_cfg.update(input_size=(1, 32, 48), mean=(0.5,), std=(0.2,))
    arguments = {"img_size": (32, 48), "in_chans": 1}
    timm.models.save_for_hf(source, str(tmp_path / "mine"), model_args=arguments, safe_serialization=True)
    config = TimmConfig(name=str(tmp_path / "mine"))
    requested = config.requirements("photo", "image")
    assert (requested.image_size, requested.num_channels) == ((32, 48), 1)
    encoder = config.build(of, 8).eval()
    batch = images(of, [1, 1])
    with torch.no_grad():
        expected = source.eval().forward_features(encoder.standardize(batch.values[:, 0]))
    torch.testing.assert_close(encoder(batch).values, encoder.projection(encoder.norms[0](expected)))
    assert not any(p.requires_grad for p in encoder.network.parameters())

    encoder.save_resources(tmp_path / "bundle")
    (tmp_path / "mine" / "config.json").unlink()
    again = config.build(of, 8, tmp_path / "bundle").eval()
    again.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(again(batch).values, encoder(batch).values)
    with pytest.raises(WeightsError, match=r"expected a folder with timm's config\.json"):
        config.requirements("photo", "image")


def test_a_local_weights_file(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    of = column()
    encoder = random("resnet10t", of)
    save_file({n: v.contiguous() for n, v in encoder.network.state_dict().items()}, tmp_path / "w.safetensors")
    config = TimmConfig(name="resnet10t", weights=str(tmp_path / "w.safetensors"))
    local = config.build(of, 8)
    torch.testing.assert_close(local.network.state_dict(), encoder.network.state_dict())
    assert not any(p.requires_grad for p in local.network.parameters())
    assert list(random("resnet10t", of).pretrained_parameters()) == []
    tuned = TimmConfig(name="resnet10t", weights=str(tmp_path / "w.safetensors"), tune="full").build(of, 8)
    assert len(list(tuned.pretrained_parameters())) == len([p for p in tuned.network.parameters() if p.requires_grad])
    assert config.requirements("photo", "image").num_channels == 3


def test_a_weights_file_keeps_its_own_mean_deviation_and_padding(tmp_path: Path) -> None:
    source = timm.create_model("mobilenetv2_050", num_classes=5, pad_type="same")
    source.pretrained_cfg.update(input_size=(3, 64, 96), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.25))
    folder = tmp_path / "mine"
    timm.models.save_for_hf(source, str(folder), model_args={"pad_type": "same"}, safe_serialization=True)
    config = TimmConfig(name="mobilenetv2_050", weights=str(folder / "model.safetensors"))
    requested = config.requirements("photo", "image")
    assert requested == ImageRequirements(
        image_size=(64, 96), num_channels=3, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.25)
    )
    of = column(64, 96)
    encoder = config.build(of, 8).eval()
    batch = images(of, [1, 1])
    with torch.no_grad():
        expected = source.eval().forward_features(encoder.standardize(batch.values[:, 0]))
    features = encoder.backbone(batch.values[:, 0], batch.lengths[:, 0]).layers[0]
    torch.testing.assert_close(features.values, expected.flatten(2).transpose(1, 2))
    encoder.save_resources(tmp_path)
    again = config.build(of, 8, tmp_path).eval()
    again.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(again(batch).values, encoder(batch).values)

    with pytest.raises(ConfigError, match=r"is of the architecture mobilenetv2_050, the recipe says resnet10t"):
        TimmConfig(name="resnet10t", weights=config.weights).requirements("photo", "image")
    (folder / "config.json").write_text('{"model_type": "vit"}', encoding="utf-8")  # another library's
    assert config.requirements("photo", "image").std == (0.229, 0.224, 0.225)


def test_a_frozen_backbone_is_an_extractor(tmp_path: Path) -> None:
    of = column()
    torch.save(random("resnet10t", of).network.state_dict(), tmp_path / "w.pth")
    encoder = TimmConfig(name="resnet10t", weights=str(tmp_path / "w.pth")).build(of, 8)
    batch = images(of, [1, 1])
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    trained = encoder.train()(batch).values
    torch.testing.assert_close(trained, encoder.eval()(batch).values)
    torch.testing.assert_close(dict(encoder.state_dict()), before)


@pytest.mark.parametrize(
    ("options", "size", "error", "message"),
    [
        ({"name": "resnet10tt", "pretrained": False, "tune": "full"}, 32, ConfigError, "knows no model 'resnet10tt'"),
        ({"name": "resnet10t", "weights": "none.pth"}, 32, WeightsError, r"none.pth: no such file"),
        ({"name": "timm/resnet18.a1_in1k"}, 32, WeightsError, "write hf-hub:timm/resnet18.a1_in1k"),
        (
            {"name": "test_vit", "pretrained": False, "tune": "full"},
            28,
            ConfigError,
            "do not divide the column 'photo'",
        ),
    ],
)
def test_what_is_wrong_is_named(options: dict[str, Any], size: int, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        TimmConfig(**options).build(column(size, size), 8)


def test_without_a_network_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        assert kwargs["pretrained"]
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(WeightsError, match=r"'resnet10t\.c3_in1k': no route to host; without a network give the path"):
        TimmConfig(name="resnet10t.c3_in1k").build(column(), 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pretrained": False}, "would freeze noise"),
        ({"pretrained": False, "weights": "a.pth", "tune": "full"}, "contradict"),
        ({"tune": 0}, "0 blocks"),
    ],
)
def test_contradictions_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TimmConfig(name="resnet10t", **options)
