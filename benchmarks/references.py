"""What benchmarks/components.py compares with: timm's, transformers' and torch's own implementations, at the same size.

A reference takes what the component takes and gives tokens (or tokens and a summary) of the same shape: a network of
another library, with the dropout at our places and one `project` to the tokens' width where we have one. What is ours
alone (masks, checks of an absent cell, several items in a cell) it does not do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from polysense.core.batch import ColumnBatch
from polysense.core.tokens import Tokens
from polysense.nn.layers.spectrogram import LogMel

HEADS = 4


@dataclass(frozen=True)
class Size:
    """The one size at which everything is measured."""

    batch: int = 16
    width: int = 128
    text_length: int = 64
    vocabulary: int = 4000
    side: int = 64
    seconds: int = 2
    sample_rate: int = 16_000
    tokens: tuple[int, ...] = (49, 60, 1)


@dataclass(frozen=True)
class Reference:
    """Another implementation of one component.

    Attributes:
        name: Whose.
        variants: Layouts or kernels of it; the fastest counts.
        differs: What it does otherwise.
        tolerance: How far its number of parameters may be off, as a share.
    """

    name: str
    variants: Mapping[str, Callable[[Size], nn.Module]]
    differs: str = ""
    tolerance: float = 0.02


def items(column: ColumnBatch) -> tuple[Tensor, Tensor]:
    """Values and lengths of a column of one item per cell."""
    return column.values[:, 0], column.lengths[:, 0]


def valid(lengths: Tensor, length: int) -> Tensor:
    return torch.arange(length) < lengths[:, None]


def transformer_layer(size: Size) -> nn.TransformerEncoderLayer:
    """torch's pre-norm layer, with dropout after attention and after the feed-forward layer only."""
    layer = nn.TransformerEncoderLayer(
        size.width, HEADS, 4 * size.width, 0.1, activation="gelu", batch_first=True, norm_first=True
    )
    layer.dropout, layer.self_attn.dropout = nn.Identity(), 0.0
    return layer


# Text.


class Bert(nn.Module):
    def __init__(self, projected: bool, attention: str, size: Size) -> None:
        super().__init__()
        self.model = bert(size, attention, pooled=projected)
        self.project = projection(size.width, size.width) if projected else nn.Identity()

    def forward(self, column: ColumnBatch) -> Tensor:
        ids, lengths = items(column)
        mask = valid(lengths, ids.shape[1])
        hidden = self.model(input_ids=ids.long(), attention_mask=mask.long()).last_hidden_state
        out: Tensor = self.project(hidden)
        return out


def projection(channels: int, width: int) -> nn.Module:
    """What the encoder `pretrained` has after its backbone."""
    return nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, width))


def bert(size: Size, attention: str = "sdpa", pooled: bool = False) -> Any:
    import transformers

    config = transformers.BertConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.width,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        intermediate_size=4 * size.width,
        max_position_embeddings=size.text_length,
        attention_probs_dropout_prob=0.0,
        attn_implementation=attention,
    )
    return transformers.BertModel(config, add_pooling_layer=pooled)


class TorchTransformer(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size.vocabulary, size.width)
        self.positions = nn.Parameter(torch.randn(size.text_length, size.width))
        self.dropout = nn.Dropout(0.1)
        self.encoder = nn.TransformerEncoder(transformer_layer(size), 2, enable_nested_tensor=False)

    def forward(self, column: ColumnBatch) -> Tensor:
        ids, lengths = items(column)
        x = self.dropout(self.embedding(ids) + self.positions)
        encoded: Tensor = self.encoder(x, src_key_padding_mask=~valid(lengths, ids.shape[1]))
        return encoded


class TextRecurrent(nn.Module):
    def __init__(self, cell: type[nn.RNNBase], packed: bool, size: Size) -> None:
        super().__init__()
        self.packed = packed
        self.embedding = nn.Embedding(size.vocabulary, 128)
        self.dropout = nn.Dropout(0.1)
        self.recurrent = cell(128, 128, batch_first=True, bidirectional=True)  # type: ignore[call-arg,arg-type]
        self.project = nn.Linear(256, size.width)

    def forward(self, column: ColumnBatch) -> Tensor:
        ids, lengths = items(column)
        x = self.dropout(self.embedding(ids))
        if self.packed:
            packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            states, _ = pad_packed_sequence(self.recurrent(packed)[0], batch_first=True, total_length=ids.shape[1])
        else:
            states = self.recurrent(x)[0]
        projected: Tensor = self.project(self.dropout(states))
        return projected


class Kim(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size.vocabulary, 128)
        self.convolutions = nn.ModuleList(nn.Conv1d(128, 100, width, padding=width // 2) for width in (3, 4, 5))
        self.dropout = nn.Dropout(0.5)
        self.project = nn.Linear(300, size.width)

    def forward(self, column: ColumnBatch) -> Tensor:
        x = self.embedding(items(column)[0]).transpose(1, 2)
        features = [F.relu(convolution(x)).amax(dim=2) for convolution in self.convolutions]
        projected: Tensor = self.project(self.dropout(torch.cat(features, dim=1)))
        return projected[:, None]


class TorchEmbeddingBag(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.padding = size.vocabulary
        self.bag = nn.EmbeddingBag(size.vocabulary + 1, size.width, mode="mean", padding_idx=self.padding)

    def forward(self, column: ColumnBatch) -> Tensor:
        ids, lengths = items(column)
        pooled: Tensor = self.bag(ids.masked_fill(~valid(lengths, ids.shape[1]), self.padding))
        return pooled[:, None]


# Pictures.


class Pixels(nn.Module):
    """Standardized pixels through a network that gives a map or a sequence, then one projection."""

    def __init__(self, make: Callable[[Size], tuple[nn.Module, int]], layout: str, size: Size) -> None:
        super().__init__()
        self.network, channels = make(size)
        self.layout = torch.channels_last if layout == "channels_last" else torch.contiguous_format
        self.network.to(memory_format=self.layout)
        self.project = nn.Identity() if channels == 0 else nn.Linear(channels, size.width)

    def forward(self, column: ColumnBatch) -> Tensor:
        pixels = (items(column)[0].float() - 127.5) / 63.75
        x = self.network(pixels.contiguous(memory_format=self.layout))
        x = x.last_hidden_state if isinstance(x, Mapping) else x
        projected: Tensor = self.project(x.flatten(2).transpose(1, 2) if x.dim() == 4 else x)
        return projected


def timm_map(name: str, channels: int, size: Size, **options: Any) -> tuple[nn.Module, int]:
    import timm

    network: Any = timm.create_model(name, pretrained=False, num_classes=0, global_pool="", **options)
    # VGG's two layers of 4,096 belong to its classifier.
    return network.features if name.startswith("vgg") else network, channels


def timm_vit(size: Size) -> tuple[nn.Module, int]:
    from timm.models.vision_transformer import VisionTransformer

    network = VisionTransformer(
        img_size=size.side,
        patch_size=8 if size.side < 128 else 16,
        embed_dim=size.width,
        depth=6,
        num_heads=HEADS,
        class_token=False,
        global_pool="",
        num_classes=0,
        pos_drop_rate=0.1,
        proj_drop_rate=0.1,
    )
    for block in network.blocks:
        block.mlp.drop1 = nn.Identity()
    return network, 0


def transformers_vit(size: Size) -> tuple[nn.Module, int]:
    import transformers

    patch = 8 if size.side < 128 else 16
    config = transformers.ViTConfig(
        image_size=size.side,
        patch_size=patch,
        hidden_size=size.width,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        intermediate_size=4 * size.width,
    )
    return transformers.ViTModel(config), size.width


def layouts(make: Callable[[Size], tuple[nn.Module, int]], **more: Callable[[Size], tuple[nn.Module, int]]) -> Any:
    """A network in torch's default layout and channels-last; `more` are other ways to build it."""
    found = {}
    for way, each in {"": make, **more}.items():
        for layout in ("contiguous", "channels_last"):
            found[f"{way} {layout}".strip()] = partial(Pixels, each, layout)
    return found


# Sound.


class Spectrogram(nn.Module):
    """Our log-mel spectrogram, then transformers' AST."""

    def __init__(self, convolutions: bool, attention: str, size: Size) -> None:
        import transformers

        super().__init__()
        self.log_mel = LogMel(size.sample_rate, 64)
        frames = 100 * size.seconds
        config = transformers.ASTConfig(
            hidden_size=size.width,
            num_hidden_layers=3,
            num_attention_heads=HEADS,
            intermediate_size=4 * size.width,
            hidden_dropout_prob=0.1,
            max_length=frames,
            num_mel_bins=64,
            time_stride=16,
            frequency_stride=16,
            attn_implementation=attention,
        )
        self.model: Any = transformers.ASTModel(config)
        self.convolutions = convolutions
        if convolutions:
            self.model.embeddings = Front(size)

    def forward(self, column: ColumnBatch) -> Tensor:
        spectrogram, there = self.log_mel(*items(column))
        mask = there[:, ::4].long() if self.convolutions else None
        out: Tensor = self.model(spectrogram.transpose(1, 2), attention_mask=mask).last_hidden_state
        return out


class Front(nn.Module):
    """Two strided convolutions, the bands joined into each step, learned positions."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, 32, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, stride=2, padding=1), nn.ReLU()
        )
        self.embed = nn.Linear(32 * 16, size.width)
        self.positions = nn.Parameter(torch.randn(25 * size.seconds, size.width))
        self.dropout = nn.Dropout(0.1)

    def forward(self, spectrogram: Tensor) -> Tensor:
        x = self.convolutions(spectrogram[:, None])  # [clips, channels, steps, bands]
        embedded: Tensor = self.dropout(self.embed(x.transpose(1, 2).flatten(2)) + self.positions)
        return embedded


class M5(nn.Module):
    """Dai et al.'s M5 without the last maximum and average, a quarter of its channels, at 16 kHz."""

    def __init__(self, norm: Callable[[int], nn.Module], size: Size) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv1d(1, 32, 160, stride=8, padding=76, bias=False), norm(32), nn.ReLU()]
        for before, after in ((32, 32), (32, 64), (64, 128)):
            layers += [nn.MaxPool1d(4, ceil_mode=True), nn.Conv1d(before, after, 3, padding=1, bias=False)]
            layers += [norm(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.dropout = nn.Dropout(0.2)
        self.project = nn.Linear(128, size.width)

    def forward(self, column: ColumnBatch) -> Tensor:
        signal = items(column)[0].float()
        signal = (signal - signal.mean(dim=1, keepdim=True)) / signal.std(dim=1, keepdim=True)
        projected: Tensor = self.project(self.dropout(self.layers(signal[:, None]).transpose(1, 2)))
        return projected


# Fusions: tokens by column to the tokens of all columns and one summary.


class TorchTransformerFusion(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        width = size.width
        self.project = nn.ModuleList(nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width)) for _ in size.tokens)
        self.columns = nn.Parameter(torch.randn(len(size.tokens), width))
        self.summary = nn.Parameter(torch.randn(1, 1, width))
        self.encoder = nn.TransformerEncoder(
            transformer_layer(size), 2, norm=nn.LayerNorm(width), enable_nested_tensor=False
        )

    def forward(self, tokens: Mapping[str, Tokens]) -> tuple[Tensor, Tensor]:
        columns = list(tokens.values())
        values = [
            project(column.values) + own
            for project, column, own in zip(self.project, columns, self.columns, strict=True)
        ]
        batch = len(values[0])
        x = torch.cat([self.summary.expand(batch, -1, -1), *values], dim=1)
        mask = torch.cat([torch.ones(batch, 1, dtype=torch.bool), *(column.mask for column in columns)], dim=1)
        x = self.encoder(x, src_key_padding_mask=~mask)
        return x[:, 1:], x[:, 0]


class TorchCrossAttentionBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.query_norm, self.context_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.dropout = nn.Dropout(0.1)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(0.1)
        )

    def forward(self, x: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        context = self.context_norm(context)
        attended, _ = self.attention(self.query_norm(x), context, context, key_padding_mask=~mask, need_weights=False)
        x = x + self.dropout(attended)
        out: Tensor = x + self.feed_forward(x)
        return out


class TorchCrossAttention(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        width, count = size.width, len(size.tokens)
        self.project = nn.ModuleList(nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width)) for _ in size.tokens)
        self.summary = nn.Parameter(torch.randn(count, 1, 1, width))
        self.stacks = nn.ModuleList(
            nn.ModuleList(TorchCrossAttentionBlock(width) for _ in range(2)) for _ in range(count * (count - 1))
        )
        self.own = nn.ModuleList(transformer_layer(size) for _ in size.tokens)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Mapping[str, Tokens]) -> tuple[Tensor, Tensor]:
        columns = list(tokens.values())
        ones = torch.ones(len(columns[0].values), 1, dtype=torch.bool)
        streams = [
            torch.cat([start.expand(len(ones), -1, -1), project(column.values)], dim=1)
            for start, project, column in zip(self.summary, self.project, columns, strict=True)
        ]
        masks = [torch.cat([ones, column.mask], dim=1) for column in columns]
        stacks: Any = iter(self.stacks)
        finished = []
        for index, (x, own) in enumerate(zip(streams, self.own, strict=True)):
            attended = []
            for other, context in enumerate(streams):
                if other != index:
                    y = x
                    for block in next(stacks):
                        y = block(y, context, masks[other])
                    attended.append(y)
            mixed = sum(attended[1:], attended[0]) / len(attended)
            finished.append(self.norm(own(mixed, src_key_padding_mask=~masks[index])))
        pooled = torch.stack([x[:, 0] for x in finished], dim=1).mean(dim=1)
        return torch.cat([x[:, 1:] for x in finished], dim=1), pooled


class TorchRecurrentFusion(nn.Module):
    def __init__(self, packed: bool, size: Size) -> None:
        super().__init__()
        self.packed = packed
        width = size.width
        self.project = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width, bias=False)) for _ in size.tokens
        )
        self.bias = nn.Parameter(torch.zeros(width))
        self.dropout = nn.Dropout(0.1)
        self.recurrent = nn.GRU(width, width // 2, batch_first=True, bidirectional=True)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Mapping[str, Tokens]) -> tuple[Tensor, Tensor]:
        columns = list(tokens.values())
        steps = max(column.values.shape[1] for column in columns)
        projected = [
            project(column.values).transpose(1, 2) for project, column in zip(self.project, columns, strict=True)
        ]
        x = self.bias[:, None] + sum(F.adaptive_avg_pool1d(values, steps) for values in projected)
        x = self.dropout(x.transpose(1, 2))
        if self.packed:
            lengths = torch.stack([column.mask.sum(dim=1) for column in columns]).amax(dim=0)
            packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            x, _ = pad_packed_sequence(self.recurrent(packed)[0], batch_first=True, total_length=steps)
        else:
            x = self.recurrent(x)[0]
        x = self.out(x)
        back = [values + F.adaptive_avg_pool1d(x.transpose(1, 2), values.shape[2]) for values in projected]
        return torch.cat(back, dim=2).transpose(1, 2), x.mean(dim=1)


def _timm(name: str, channels: int, **options: Any) -> Reference:
    return Reference(f"timm {name}", layouts(partial(timm_map, name, channels, **options)))


def _attention(make: Callable[..., nn.Module], *arguments: Any) -> dict[str, Callable[[Size], nn.Module]]:
    return {kind: partial(make, *arguments, kind) for kind in ("sdpa", "eager")}


ENCODERS: dict[str, tuple[Reference, ...]] = {
    "text_transformer": (
        Reference("transformers BertModel", _attention(Bert, False), "normalizes after each sum, learned positions"),
        Reference("torch nn.TransformerEncoder", {"": TorchTransformer}, "learned positions"),
    ),
    "text_rnn": (
        Reference("torch nn.LSTM, packed", {"": partial(TextRecurrent, nn.LSTM, True)}),
        Reference(
            "torch nn.LSTM, padded",
            {"": partial(TextRecurrent, nn.LSTM, False)},
            "reads padding, and the backward direction before the text",
        ),
    ),
    "text_rnn (gru)": (
        Reference("torch nn.GRU, packed", {"": partial(TextRecurrent, nn.GRU, True)}),
        Reference(
            "torch nn.GRU, padded",
            {"": partial(TextRecurrent, nn.GRU, False)},
            "reads padding, and the backward direction before the text",
        ),
    ),
    "text_cnn": (Reference("torch nn.Conv1d (Kim)", {"": Kim}, "reads padding"),),
    "embedding_bag": (Reference("torch nn.EmbeddingBag", {"": TorchEmbeddingBag}),),
    "vit": (Reference("timm VisionTransformer", layouts(timm_vit), "learned positions"),),
    "resnet18": (_timm("resnet18", 512),),
    "resnet34": (_timm("resnet34", 512),),
    "resnet50": (_timm("resnet50", 2048),),
    "vgg": (Reference("timm vgg11_bn", layouts(partial(timm_map, "vgg11_bn", 512)), "biases before normalizing"),),
    "convnext": (
        Reference(
            "timm convnext_atto",
            layouts(
                partial(timm_map, "convnext_atto", 320, drop_path_rate=0.1),
                linear=partial(timm_map, "convnext_atto", 320, drop_path_rate=0.1, conv_mlp=False),
            ),
        ),
    ),
    "timm (resnet18)": (_timm("resnet18", 512),),
    "pretrained (BERT)": (Reference("transformers BertModel", {"": partial(Bert, True, "sdpa")}),),
    "pretrained (ViT)": (Reference("transformers ViTModel", {"": partial(Pixels, transformers_vit, "contiguous")}),),
    "audio_transformer": (
        Reference(
            "transformers AST's blocks on two convolutions",
            _attention(Spectrogram, True),
            "learned positions; our log-mel in front of both",
        ),
        Reference(
            "transformers ASTModel",
            _attention(Spectrogram, False),
            "48 patches of 16x16 and 2 class tokens for 50 steps, no mask, learned positions; our log-mel in front",
            tolerance=0.1,
        ),
    ),
    "waveform_cnn": (
        Reference(
            "torch M5, batch normalization",
            {"": partial(M5, nn.BatchNorm1d)},
            "as published; padding is normalized too",
        ),
        Reference(
            "torch M5, group normalization",
            {"": partial(M5, lambda n: nn.GroupNorm(n // 8, n))},
            "padding is normalized too",
        ),
    ),
}
FUSIONS: dict[str, tuple[Reference, ...]] = {
    "transformer": (
        Reference("torch nn.TransformerEncoder", {"": TorchTransformerFusion}, "no summaries to start from"),
    ),
    "cross_attention": (Reference("torch nn.MultiheadAttention", {"": TorchCrossAttention}, "no absent columns"),),
    "recurrent": (
        Reference(
            "torch nn.GRU, packed", {"": partial(TorchRecurrentFusion, True)}, "aligns with the padding, no absence"
        ),
        Reference("torch nn.GRU, padded", {"": partial(TorchRecurrentFusion, False)}, "reads padding"),
    ),
}
