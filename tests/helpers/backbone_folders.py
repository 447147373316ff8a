"""Small pretrained models, saved as published ones are."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

transformers: Any = importlib.import_module("transformers")

__all__ = [
    "save_bert",
    "save_language_model",
    "save_recognizer",
    "save_timm",
    "save_vit",
    "save_whisper",
    "write_tokenizer",
]

_WORDS = ("the", "cat", "sat", "on", "mat", "and", "it", "was", "not", "amused", "to", "be", "or")


def write_tokenizer(folder: Path, texts: Sequence[str] = (" ".join(_WORDS),)) -> None:
    """A tokenizer.json of the words of some texts, where other words are spelled."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    folder.mkdir(parents=True, exist_ok=True)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = sorted({word for text in texts for word in text.lower().split()})
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters), *words]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    marks = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    named = {f"{name}_token": mark for name, mark in marks.items()}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named).save_pretrained(folder)


def save_bert(folder: Path, *, sentences: bool = False, layers: int = 1) -> None:
    """A BERT; with `sentences` as sentence-transformers saves one."""
    settings = transformers.BertConfig(
        vocab_size=100,
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    torch.manual_seed(0)
    transformers.BertModel(settings).save_pretrained(folder)
    write_tokenizer(folder)
    if sentences:
        modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
        pooling = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
        modules.append({"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"})
        (folder / "modules.json").write_text(json.dumps(modules))
        (folder / "1_Pooling").mkdir(exist_ok=True)
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
        (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 32, "do_lower_case": false}')


def save_language_model(folder: Path, texts: Sequence[str] = (" ".join(_WORDS),)) -> None:
    """A GPT-2 of one layer that knows the words of some texts."""
    write_tokenizer(folder, texts)
    size = len(transformers.AutoTokenizer.from_pretrained(folder))
    settings = transformers.GPT2Config(vocab_size=size, n_embd=16, n_layer=1, n_head=2, n_positions=96)
    torch.manual_seed(0)
    transformers.GPT2LMHeadModel(settings).save_pretrained(folder)


def save_timm(folder: Path) -> None:
    """A small ResNet as timm saves one."""
    import timm
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    weights = timm.create_model("resnet10t", num_classes=5).state_dict()
    save_file({name: value.contiguous() for name, value in weights.items()}, folder / "model.safetensors")
    own = {"num_classes": 5, "input_size": [3, 32, 32], "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.2]}
    more = {"tag": "mine", "classifier": "fc", "first_conv": "conv1.0"}
    settings = {"architecture": "resnet10t", "num_classes": 5, "pretrained_cfg": own | more}
    (folder / "config.json").write_text(json.dumps(settings))


def save_vit(folder: Path) -> None:
    """A ViT with a processor, as transformers saves one."""
    settings = transformers.ViTConfig(
        image_size=32, patch_size=16, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    torch.manual_seed(0)
    transformers.ViTModel(settings).save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)


def save_whisper(folder: Path) -> None:
    """A Whisper of one layer, whose stretches are of half a second."""
    settings = transformers.WhisperConfig(
        vocab_size=60,
        num_mel_bins=20,
        encoder_layers=1,
        encoder_attention_heads=2,
        decoder_layers=1,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        d_model=16,
        max_source_positions=25,
        max_target_positions=16,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        begin_suppress_tokens=None,
        suppress_tokens=None,
    )
    torch.manual_seed(0)
    transformers.WhisperForConditionalGeneration(settings).save_pretrained(folder)
    transformers.WhisperFeatureExtractor(feature_size=20, chunk_length=1, n_fft=400).save_pretrained(folder)
    write_tokenizer(folder)


def save_recognizer(folder: Path, *, languages: Sequence[str] = ()) -> None:
    """A Whisper of one layer with a tokenizer of bytes that is laid out as published ones are: texts' tokens, the end,
    then control tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(
        models.BPE({token: i for i, token in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, [])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    control = ["<|startoftranscript|>", *(f"<|{name}|>" for name in languages), "<|transcribe|>", "<|notimestamps|>"]
    wrapper = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")
    wrapper.add_special_tokens({"additional_special_tokens": control})
    save_whisper(folder)
    settings = transformers.AutoConfig.from_pretrained(folder)
    settings.vocab_size, settings.max_target_positions = len(wrapper), 100
    settings.pad_token_id = settings.eos_token_id = wrapper.eos_token_id
    settings.bos_token_id = settings.decoder_start_token_id = wrapper.convert_tokens_to_ids(control[0])
    torch.manual_seed(0)
    transformers.WhisperForConditionalGeneration(settings).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink(missing_ok=True)
    wrapper.save_pretrained(folder)
    path = folder / "generation_config.json"
    generation = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**generation, "is_multilingual": bool(languages)}))
