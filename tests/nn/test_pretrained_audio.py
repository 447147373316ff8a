"""Pretrained models of sound, tiny and random: rows apart, every second heard, equal to transformers' own result."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from polysense.core.batch import ColumnBatch
from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.modalities.audio.record import AudioColumn
from polysense.modalities.image.record import ImageColumn
from polysense.nn.pretrained import Pretrained, PretrainedConfig

transformers: Any = importlib.import_module("transformers")
AUDIO = AudioColumn(name="speech", sample_rate=16000)

_BLOCKS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
_WAVEFORM = _BLOCKS | {
    "conv_dim": (8, 8, 8),
    "conv_stride": (5, 8, 8),
    "conv_kernel": (10, 8, 8),
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    # As published models have them: random masking and dropped layers in training.
    "mask_time_prob": 0.5,
    "layerdrop": 0.5,
}
_STRIDE = 5 * 8 * 8
WAVEFORM_MODELS = {
    "wav2vec2-base": ("Wav2Vec2", {"feat_extract_norm": "group", "do_stable_layer_norm": False}),
    "wav2vec2-large": ("Wav2Vec2", {"feat_extract_norm": "layer", "do_stable_layer_norm": True}),
    "hubert-base": ("Hubert", {"feat_extract_norm": "group"}),
    "hubert-large": ("Hubert", {"feat_extract_norm": "layer", "do_stable_layer_norm": True}),
    "wavlm-base": ("WavLM", {"feat_extract_norm": "group", "num_buckets": 8}),
    "unispeech-base": ("UniSpeech", {"feat_extract_norm": "group"}),
    "data2vec": ("Data2VecAudio", {"num_conv_pos_embeddings": 2, "conv_pos_kernel_size": 5}),
    "sew": ("SEW", {"feat_extract_norm": "group", "squeeze_factor": 2}),
}
WAVEFORM = pytest.mark.parametrize("kind", list(WAVEFORM_MODELS))
# WavLM's own code hands torch a mask and a position bias of unlike types.
pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask:UserWarning")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def save_waveform(kind: str, folder: Path, do_normalize: bool = True) -> Path:
    name, options = WAVEFORM_MODELS[kind]
    torch.manual_seed(0)
    model = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**(_WAVEFORM | options)))
    for parameter in model.parameters():  # biases away from 0, which would hide what padding adds
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, mean=0.5, std=0.3)
    model.save_pretrained(folder)
    extractor = transformers.Wav2Vec2FeatureExtractor(sampling_rate=16000, do_normalize=do_normalize)
    extractor.save_pretrained(folder)
    return folder


def save_whisper(folder: Path) -> Path:
    settings = transformers.WhisperConfig(
        d_model=16,
        encoder_layers=1,
        encoder_attention_heads=2,
        decoder_layers=1,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        vocab_size=60,
        num_mel_bins=80,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    torch.manual_seed(0)
    transformers.WhisperModel(settings).save_pretrained(folder)
    transformers.WhisperFeatureExtractor().save_pretrained(folder)
    return folder


def save_ast(folder: Path) -> Path:
    torch.manual_seed(0)
    transformers.ASTModel(transformers.ASTConfig(**_BLOCKS, num_mel_bins=32)).save_pretrained(folder)
    transformers.ASTFeatureExtractor(num_mel_bins=32).save_pretrained(folder)
    return folder


def clips(num: int, length: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-9000, 9000, (num, 1, length), generator=generator).to(torch.int16)


def encode(encoder: Pretrained, values: Tensor, *lengths: int) -> Tokens:
    with torch.no_grad():
        tokens = encoder(ColumnBatch(values=values, lengths=torch.tensor(lengths)[:, None]))
    assert isinstance(tokens, Tokens)
    return tokens


def check_rows_apart(encoder: Pretrained, values: Tensor, lengths: list[int]) -> None:
    tokens = encode(encoder, values, *lengths)
    assert tokens.values.isfinite().all()
    for row, length in enumerate(lengths):
        alone = encode(encoder, values[row : row + 1, :, : max(length, 1)], length)
        assert int(tokens.mask[row].sum()) == int(alone.mask.sum())
        assert bool(tokens.mask[row].any()) == (length > 0)
        got, expected = tokens.values[row][tokens.mask[row]], alone.values[0][alone.mask[0]]
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=3e-5)


@WAVEFORM
def test_batch_mates_change_no_row_of_a_waveform_model(kind: str, tmp_path: Path) -> None:
    encoder = PretrainedConfig(path=str(save_waveform(kind, tmp_path))).build(AUDIO, 8).eval()
    check_rows_apart(encoder, clips(6, 16000), [16000, 9001, 9001, 700, 3, 0])


@WAVEFORM
def test_a_waveform_model_alone_is_transformers_own(kind: str, tmp_path: Path) -> None:
    encoder = PretrainedConfig(path=str(save_waveform(kind, tmp_path)), layers="last").build(AUDIO, 8).eval()
    clip = clips(1, 12345)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(str(tmp_path))
    inputs = extractor(clip[0, 0].float().numpy() / 32768, sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        reference = transformers.AutoModel.from_pretrained(str(tmp_path)).eval()(inputs.input_values)
        expected = encoder.projection(encoder.norms[0](reference.last_hidden_state))
    tokens = encode(encoder, clip, 12345)
    assert tokens.mask.all()
    torch.testing.assert_close(tokens.values, expected, rtol=1e-4, atol=1e-4)


def test_transformers_own_batch_would_mix_rows(tmp_path: Path) -> None:
    """The trap that this guards against is there: padded, the small models give a row something else."""
    save_waveform("wav2vec2-base", tmp_path)
    model = transformers.AutoModel.from_pretrained(str(tmp_path)).eval()
    clip = torch.randn(1, 4000, generator=torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(clip, (0, 8000))
    with torch.no_grad():
        alone = model(clip).last_hidden_state
        mixed = model(padded, attention_mask=(torch.arange(12000) < 4000).long()[None]).last_hidden_state
    assert not torch.allclose(alone, mixed[:, : alone.shape[1]], atol=1e-2)


@pytest.mark.parametrize("do_normalize", [False, True])
def test_a_waveform_is_standardized_if_the_model_was_trained_so(do_normalize: bool, tmp_path: Path) -> None:
    path = save_waveform("wav2vec2-large", tmp_path, do_normalize)
    encoder = PretrainedConfig(path=str(path)).build(AUDIO, 8).eval()
    quiet, loud = (encode(encoder, clips(1, 4000) // 4 * factor, 4000).values for factor in (1, 4))
    assert torch.allclose(quiet, loud, atol=1e-4) == do_normalize


@pytest.mark.parametrize("kind", ["wav2vec2-large", "hubert-base", "sew"])
def test_a_long_waveform_is_heard_in_stretches_to_its_end(kind: str, tmp_path: Path) -> None:
    config = PretrainedConfig(path=str(save_waveform(kind, tmp_path)), max_seconds=0.5)
    encoder = config.build(AUDIO, 8).eval()
    whole = PretrainedConfig(path=str(tmp_path), max_seconds=100.0).build(AUDIO, 8).eval()
    whole.load_state_dict(encoder.state_dict())
    lengths = [40000, 8000, 22222, 50, 0, 8300]
    values = clips(6, 40000)
    check_rows_apart(encoder, values, lengths)
    tokens, in_one = encode(encoder, values, *lengths), encode(whole, values, *lengths)
    # The same frames, whether in stretches or not; a clip of one stretch is untouched.
    more = tokens.mask.sum(dim=1) - in_one.mask.sum(dim=1)
    # SEW joins frames in pairs, so a single one left over is filled up with a silent one.
    assert more.tolist() == [0, 0, 0, 0, 0, int(kind == "sew")]
    torch.testing.assert_close(tokens.values[1][tokens.mask[1]], in_one.values[1][in_one.mask[1]], rtol=1e-4, atol=1e-5)
    changed = values.clone()
    changed[0, 0, -_STRIDE * 3 :] = 0
    other = encode(encoder, changed, *lengths)
    different = (other.values - tokens.values).abs().amax(dim=2) > 1e-4
    assert different[0, -25:][tokens.mask[0, -25:]].any()
    assert not different[1:].any()


def test_without_blocks_between_them_stretches_give_what_one_piece_gives(tmp_path: Path) -> None:
    """Convolutions alone: where frames come from doesn't depend on where a stretch begins."""
    name, options = WAVEFORM_MODELS["wav2vec2-large"]
    settings = getattr(transformers, f"{name}Config")(**(_WAVEFORM | options | {"num_hidden_layers": 0}))
    model = getattr(transformers, f"{name}Model")(settings)
    torch.nn.init.zeros_(model.encoder.pos_conv_embed.conv.bias)
    model.encoder.pos_conv_embed.conv.parametrizations.weight.original0.data.zero_()
    model.save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    pieces = PretrainedConfig(path=str(tmp_path), max_seconds=0.3).build(AUDIO, 8).eval()
    whole = PretrainedConfig(path=str(tmp_path)).build(AUDIO, 8).eval()
    whole.load_state_dict(pieces.state_dict())
    values = clips(1, 30000)
    one, other = encode(pieces, values, 30000), encode(whole, values, 30000)
    assert int(one.mask.sum()) == other.values.shape[1]
    torch.testing.assert_close(one.values[one.mask], other.values[0], rtol=1e-4, atol=1e-4)


@WAVEFORM
def test_training_is_reproducible_and_reaches_every_parameter(kind: str, tmp_path: Path) -> None:
    path = save_waveform(kind, tmp_path)
    encoder = PretrainedConfig(path=str(path), tune="full").build(AUDIO, 8).train()
    column = ColumnBatch(values=clips(3, 5000), lengths=torch.tensor([[5000], [300], [0]]))
    results = []
    for seed in (0, 1):
        np.random.seed(seed)  # the generator that transformers would draw from
        torch.manual_seed(7)
        results.append(encoder(column).values)
    torch.testing.assert_close(results[0], results[1])
    results[0].square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("save", [save_whisper, save_ast], ids=["whisper", "ast"])
def test_the_last_second_of_65_is_heard(save: Any, tmp_path: Path) -> None:
    encoder = PretrainedConfig(path=str(save(tmp_path))).build(AUDIO, 8).eval()
    length = 65 * 16000
    values = clips(1, length)
    tokens = encode(encoder, values, length)
    changed = values.clone()
    changed[..., -16000:] = 0
    other = encode(encoder, changed, length)
    assert torch.equal(tokens.mask, other.mask)
    different = ((tokens.values - other.values).abs().amax(dim=2) > 1e-4)[0]
    assert different[tokens.mask[0]].any()
    if save is save_ast:  # seven stretches, six of them with all of their tokens
        stretch = 2 + 2 * 101
        assert 6 * stretch < len(different) <= 7 * stretch
        assert different.nonzero().min() >= 6 * stretch
    else:  # three, the last of which ends with the clip
        assert len(different) == 65 * 50
        assert different.nonzero().min() >= 60 * 50


@pytest.mark.parametrize("save", [save_whisper, save_ast], ids=["whisper", "ast"])
def test_batch_mates_change_no_row_of_a_spectrogram_model(save: Any, tmp_path: Path) -> None:
    encoder = PretrainedConfig(path=str(save(tmp_path))).build(AUDIO, 8).eval()
    check_rows_apart(encoder, clips(4, 500_000), [500_000, 16000, 3, 0])


def sliced_whisper(folder: Path, positions: int) -> Any:
    """transformers' own encoder with the first of its positions, which is all that makes it take a shorter clip."""
    whole = transformers.AutoModel.from_pretrained(str(folder)).encoder
    settings = transformers.AutoConfig.from_pretrained(str(folder))
    settings.max_source_positions = positions
    model = transformers.WhisperModel(settings).encoder.eval()
    weights = whole.state_dict()
    weights["embed_positions.weight"] = weights["embed_positions.weight"][:positions]
    model.load_state_dict(weights)
    return model


@pytest.mark.parametrize("length", [16000, 15900, 480_000, 3])
def test_whisper_equals_transformers_own_encoder_on_the_clips_own_frames(length: int, tmp_path: Path) -> None:
    encoder = PretrainedConfig(path=str(save_whisper(tmp_path)), layers="last").build(AUDIO, 8).eval()
    clip, positions = clips(1, length), -(-length // 320)  # one in 20 ms
    heard = min(positions + 50, 1500)  # a second of silence follows the clip, where there is room
    extractor = transformers.AutoFeatureExtractor.from_pretrained(str(tmp_path))
    inputs = extractor(clip[0, 0].float().numpy() / 32768, sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        model = sliced_whisper(tmp_path, heard)
        hidden = model(inputs.input_features[..., : 2 * heard]).last_hidden_state[:, :positions]
        expected = encoder.projection(encoder.norms[0](hidden))
    tokens = encode(encoder, clip, length)
    assert tokens.mask.sum() == positions == tokens.values.shape[1]
    torch.testing.assert_close(tokens.values, expected, rtol=1e-4, atol=1e-4)


def test_a_short_clip_costs_what_it_lasts_and_a_second_of_silence(tmp_path: Path) -> None:
    encoder = PretrainedConfig(path=str(save_whisper(tmp_path)), layers="last").build(AUDIO, 8).eval()
    widths = []
    encoder.network.layer_norm.register_forward_hook(lambda module, inputs, output: widths.append(output.shape[:2]))
    encode(encoder, clips(3, 32000), 32000, 8000, 0)
    assert [tuple(shape) for shape in widths] == [(1, 150), (1, 75)]


def test_tuned_clips_of_one_length_are_run_together(tmp_path: Path) -> None:
    encoder = PretrainedConfig(path=str(save_whisper(tmp_path)), tune="full").build(AUDIO, 8).eval()
    widths = []
    encoder.network.layer_norm.register_forward_hook(lambda module, inputs, output: widths.append(output.shape[:2]))
    tokens = encode(encoder, clips(4, 32000), 32000, 8000, 32000, 7999)
    assert sorted(tuple(shape) for shape in widths) == [(2, 75), (2, 150)]
    assert tokens.mask.sum(dim=1).tolist() == [100, 25, 100, 25]


def test_ast_equals_transformers_own_on_the_clips_own_patches(tmp_path: Path) -> None:
    encoder = PretrainedConfig(path=str(save_ast(tmp_path)), layers="last").build(AUDIO, 8).eval()
    clip = clips(1, 16000)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(str(tmp_path))
    inputs = extractor(clip[0, 0].float().numpy() / 32768, sampling_rate=16000, return_tensors="pt")
    # 98 frames are 10 patches of 16 frames, 10 apart, the last half full; of 101 that a whole stretch has.
    frames = 9 * 10 + 16
    settings = transformers.AutoConfig.from_pretrained(str(tmp_path))
    settings.max_length = frames
    whole = transformers.AutoModel.from_pretrained(str(tmp_path))
    model = transformers.ASTModel(settings).eval()
    weights = whole.state_dict()
    positions = weights["embeddings.position_embeddings"]
    own = positions[:, 2:].view(1, 2, 101, -1)[:, :, :10].flatten(1, 2)
    weights["embeddings.position_embeddings"] = torch.cat([positions[:, :2], own], dim=1)
    model.load_state_dict(weights)
    with torch.no_grad():
        expected = encoder.projection(encoder.norms[0](model(inputs.input_values[:, :frames]).last_hidden_state))
    tokens = encode(encoder, clip, 16000)
    assert tokens.mask.all()
    assert tokens.values.shape[1] == 2 + 2 * 10  # two class tokens, then two bands
    torch.testing.assert_close(tokens.values, expected, rtol=1e-4, atol=1e-4)
    # Beside a longer clip they are the same.
    padded = encode(encoder, torch.cat([F.pad(clip, (0, 304_000)), clips(1, 320_000)]), 16000, 320_000)
    assert padded.mask.sum(dim=1).tolist() == [22, 204 + 200]
    assert padded.mask[0, :22].all()
    torch.testing.assert_close(padded.values[0, :22], expected[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["wav2vec2-base", "wav2vec2-large", "whisper", "ast"])
def test_layers_are_handed_on_as_asked(kind: str, tmp_path: Path) -> None:
    save = {"whisper": save_whisper, "ast": save_ast}
    path = save[kind](tmp_path) if kind in save else save_waveform(kind, tmp_path)
    values, lengths = clips(2, 16000), torch.tensor([16000, 9000])

    def layers(choice: Any) -> list[Tensor]:
        encoder = PretrainedConfig(path=str(path), layers=choice).build(AUDIO, 8).eval()
        assert len(encoder.chosen) == len(encoder.norms)
        with torch.no_grad():
            features = encoder.backbone(values[:, 0], lengths)
            tokens = encoder.project(features)
        assert tokens.values.shape[2] == 8
        return [layer.cleared().values for layer in features.layers]

    last = 1 if kind == "whisper" else 2
    every = layers(tuple(range(last + 1)))
    assert len(every) == last + 1
    for choice, expected in (("last", every[-1:]), ("all", every[1:]), ((-1, 0), [every[-1], every[0]])):
        result = layers(choice)
        assert len(result) == len(expected)
        for one, other in zip(result, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(every[0], every[1], atol=1e-2)
    with pytest.raises(ConfigError, match=rf"layers: found \[{last + 1}\], expected different layers from 0"):
        layers((last + 1,))
    with pytest.raises(ConfigError, match="hands nothing on"):
        layers(())


def test_a_weighting_of_layers_is_learned(tmp_path: Path) -> None:
    encoder = PretrainedConfig(path=str(save_waveform("wav2vec2-large", tmp_path))).build(AUDIO, 8).train()
    assert encoder.layer_weights is not None  # the usual choice for audio
    column = ColumnBatch(values=clips(2, 9000), lengths=torch.tensor([[9000], [4000]]))
    encoder(column).values.square().sum().backward()
    assert encoder.layer_weights.grad is not None
    assert encoder.layer_weights.grad.abs().min() > 0
    with torch.no_grad():
        encoder.layer_weights.copy_(torch.tensor([50.0, 0.0]))
        first = PretrainedConfig(path=str(tmp_path), layers=(1,)).build(AUDIO, 8).eval()
        first.norms[0].load_state_dict(encoder.norms[0].state_dict())
        first.projection.load_state_dict(encoder.projection.state_dict())
    torch.testing.assert_close(encoder.eval()(column).values, first(column).values, rtol=1e-4, atol=1e-5)


def test_consecutive_stretches_of_ast_lose_no_frame(tmp_path: Path) -> None:
    encoder = PretrainedConfig(path=str(save_ast(tmp_path))).build(AUDIO, 8).eval()
    length = 25 * 16000
    silence = torch.zeros(1, 1, length, dtype=torch.int16)
    quiet = encode(encoder, silence, length)
    attended = []
    for second in (9.9, 10.09, 10.12, 10.16, 10.2, 20.2, 24.9):  # around the stretches' ends above all
        click = silence.clone()
        start = round(second * 16000)
        click[..., start : start + 160] = 20000
        other = encode(encoder, click, length)
        attended.append(bool(((other.values - quiet.values).abs().amax(dim=2)[quiet.mask] > 1e-4).any()))
    assert all(attended)


@pytest.mark.parametrize("kind", ["wav2vec2-base", "whisper", "ast"])
def test_a_saved_model_of_sound_is_rebuilt(kind: str, tmp_path: Path) -> None:
    save = {"whisper": save_whisper, "ast": save_ast}
    path = save[kind](tmp_path / "m") if kind in save else save_waveform(kind, tmp_path / "m")
    encoder = PretrainedConfig(path=str(path)).build(AUDIO, 8).eval()
    encoder.save_resources(tmp_path / "resources")
    again = PretrainedConfig(path="/gone").build(AUDIO, 8, tmp_path / "resources").eval()
    again.load_state_dict(encoder.state_dict())
    values = clips(2, 8000)
    assert torch.equal(encode(encoder, values, 8000, 3000).values, encode(again, values, 8000, 3000).values)


@pytest.mark.parametrize("kind", ["wav2vec2-base", "whisper", "ast"])
def test_random_weights_need_a_config_only(kind: str, tmp_path: Path) -> None:
    save = {"whisper": save_whisper, "ast": save_ast}
    path = save[kind](tmp_path / "m") if kind in save else save_waveform(kind, tmp_path / "m")
    for file in ("model.safetensors", "preprocessor_config.json"):
        (path / file).unlink()
    config = PretrainedConfig(path=str(path), weights="random", tune="full")
    assert config.requirements("speech", "audio").sample_rate == 16000
    encoder = config.build(AUDIO, 8).eval()
    assert encode(encoder, clips(2, 8000), 8000, 0).present.tolist() == [True, False]
    assert not list(encoder.pretrained_parameters())
    encoder.save_resources(tmp_path / "resources")
    again = config.build(AUDIO, 8, tmp_path / "resources")
    again.load_state_dict(encoder.state_dict())


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="would freeze noise"):
        PretrainedConfig(path="somewhere", weights="random")
    with pytest.raises(ConfigError, match="leaves nothing to hear"):
        PretrainedConfig(path="somewhere", max_seconds=0.0)


def test_padding_full_is_what_transformers_hands_on(tmp_path: Path) -> None:
    config = PretrainedConfig(path=str(save_whisper(tmp_path)), layers="last", padding="full")
    encoder = config.build(AUDIO, 8).eval()
    encoder.give_pyramid()
    clip = clips(1, 16000)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(str(tmp_path))
    inputs = extractor(clip[0, 0].float().numpy() / 32768, sampling_rate=16000, return_tensors="pt")
    whole = transformers.AutoModel.from_pretrained(str(tmp_path)).encoder.eval()
    with torch.no_grad():
        expected = whole(inputs.input_features).last_hidden_state
    (states,) = encode(encoder, clip, 16000).pyramid
    assert states.mask.sum() == 1500
    torch.testing.assert_close(states.values, expected, rtol=1e-4, atol=1e-4)
    # What lies beyond a clip's end is not heard, and an absent clip stays absent.
    spoiled = clip.clone()
    spoiled[..., 8000:] = 77
    quiet = clip.clone()
    quiet[..., 8000:] = 0
    torch.testing.assert_close(
        encode(encoder, spoiled, 8000).pyramid[0].values, encode(encoder, quiet, 16000).pyramid[0].values
    )
    assert not encode(encoder, clip, 0).mask.any()


def test_the_states_are_the_last_layers_alone(tmp_path: Path) -> None:
    encoder = PretrainedConfig(path=str(save_whisper(tmp_path)), layers=(0,)).build(AUDIO, 8)
    with pytest.raises(ConfigError, match="a head reads this column's feature maps"):
        encoder.give_pyramid()
    weighted = PretrainedConfig(path=str(save_whisper(tmp_path))).build(AUDIO, 8).eval()
    last = PretrainedConfig(path=str(tmp_path), layers="last").build(AUDIO, 8).eval()
    for one in (weighted, last):
        assert [(level.stride, level.width, level.grid) for level in one.give_pyramid()] == [((320,), 16, None)]
    clip = clips(1, 16000)
    assert torch.equal(encode(weighted, clip, 16000).pyramid[0].values, encode(last, clip, 16000).pyramid[0].values)


@pytest.mark.parametrize("save", [save_whisper, lambda folder: save_waveform("wav2vec2-large", folder)], ids=["w", "v"])
def test_a_long_clip_is_handed_on_as_means_of_neighbors(save: Any, tmp_path: Path) -> None:
    path = str(save(tmp_path))
    whole = PretrainedConfig(path=path, layers="last").build(AUDIO, 8).eval()
    fewer = PretrainedConfig(path=path, layers="last", pool_to=7).build(AUDIO, 8).eval()
    fewer.load_state_dict(whole.state_dict())
    clip = clips(1, 16000)
    with torch.no_grad():
        states = whole.backbone(clip[:, 0], torch.tensor([16000])).layers[0]
        means = fewer.backbone(clip[:, 0], torch.tensor([16000])).layers[0]
    count = int(states.mask.sum())
    size = -(-count // 7)
    expected = [states.values[0, low : min(low + size, count)].mean(dim=0) for low in range(0, count, size)]
    assert int(means.mask.sum()) == len(expected) <= 7
    torch.testing.assert_close(means.values[0, : len(expected)], torch.stack(expected), rtol=1e-4, atol=1e-5)


def test_the_room_of_averaged_clips_does_not_depend_on_which_are_there(tmp_path: Path) -> None:
    encoder = PretrainedConfig(path=str(save_whisper(tmp_path)), pool_to=8).build(AUDIO, 8).eval()
    values = clips(4, 320 * 17)  # of 17 positions, in threes, 6 tokens are left; of 8 all 8
    check_rows_apart(encoder, values, [320 * 17, 320 * 8, 320 * 9, 0])
    with torch.inference_mode():
        together = encode(encoder, values, 320 * 17, 320 * 8, 320 * 9, 0)
        alone = encode(encoder, values[:1], 320 * 17)
    assert together.mask.sum(dim=1).tolist() == [6, 8, 5, 0]
    assert together.values.shape[1] == alone.values.shape[1] == 8
    assert torch.equal(together.values[0], alone.values[0])


def test_a_recognizer_is_given_all_states(tmp_path: Path) -> None:
    encoder = PretrainedConfig(path=str(save_whisper(tmp_path)), pool_to=8).build(AUDIO, 8).eval()
    encoder.give_pyramid()
    assert int(encode(encoder, clips(1, 16000), 16000).pyramid[0].mask.sum()) == 50


def test_tokens_of_images_and_texts_are_not_averaged(tmp_path: Path) -> None:
    assert PretrainedConfig.of_backbone("somewhere", {}).pool_to == "auto"
    config = transformers.ViTConfig(**_BLOCKS, image_size=8, patch_size=4)
    transformers.ViTModel(config).save_pretrained(tmp_path)
    transformers.ViTImageProcessor(size={"height": 8, "width": 8}).save_pretrained(tmp_path)
    image = ImageColumn(name="photo", image_size=(8, 8), num_channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
    with pytest.raises(ConfigError, match="pool_to: found 7, but tokens of image columns are not averaged"):
        PretrainedConfig(path=str(tmp_path), pool_to=7).build(image, 8)
