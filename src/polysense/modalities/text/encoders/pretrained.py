"""A transformers backbone for texts (BERT-like), with its own tokenizer, cut at its own limit.

How long a text may be is asked of three: the model's table of positions, the settings of a sentence encoder
(sentence_bert_config.json; all-MiniLM-L6-v2 has 512 positions and was trained on 128 to 256 tokens), and for a model
that has neither its tokenizer. Texts are cut there in preprocessing, where each cut is counted, and padding goes no
further.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from polysense.core.schema import Column
from polysense.core.tokens import Tokens
from polysense.errors import ConfigError, WeightsError
from polysense.modalities.text.encoders.sentence_pooling import own_pooling
from polysense.modalities.text.record import TextColumn, TextRequirements
from polysense.nn.layers.pooling import MEAN, Pooling
from polysense.nn.pretrained import Pretrained, PretrainedConfig
from polysense.nn.pretrained_files import companion, from_settings, layers_of, main_input

__all__ = ["PretrainedText"]

_POOLING = "pooling.json"
_NO_LIMIT = 1_000_000  # tokenizers without a limit name a number of 30 digits


class PretrainedText(Pretrained):
    """One token for each of the backbone's.

    Its feature vectors are pooled as the sentence encoder's own settings say; those of other models are means.
    """

    @classmethod
    def open(cls, config: PretrainedConfig, column: Column, width: int, resources: Path | None) -> Pretrained:
        encoder = super().open(config, column, width, resources)
        if resources is not None:
            encoder.pooling = Pooling.read(resources / _POOLING)
        else:
            encoder.pooling = MEAN if config.weights == "random" else own_pooling(config.path, config.revision)
        return encoder

    def save_resources(self, folder: Path) -> None:
        super().save_resources(folder)
        self.pooling.write(folder / _POOLING)

    @classmethod
    def requested(cls, config: PretrainedConfig, settings: Any) -> TextRequirements:
        if main_input(settings) != "input_ids":
            raise ConfigError(f"{config.path}: holds a model of the type {settings.model_type}, which takes no texts")
        limits = [_positions(settings)]
        if config.weights == "pretrained":
            limits.append(
                _limit(companion(config.path, "sentence_bert_config.json", config.revision), "max_seq_length")
            )
            if limits == [None, None]:
                limits.append(
                    _limit(companion(config.path, "tokenizer_config.json", config.revision), "model_max_length")
                )
        return TextRequirements(
            tokenizer=None if config.weights == "random" else config.path,
            max_tokens=min((limit for limit in limits if limit is not None), default=None),
        )

    @classmethod
    def adapt(cls, settings: Any, config: PretrainedConfig, column: Column) -> None:
        if config.weights == "random":
            column = TextColumn.of(column)
            settings.vocab_size, settings.pad_token_id = column.vocabulary_size, column.padding_id

    @classmethod
    def blank(cls, network: Any, settings: Any, extractor: Any, column: Column) -> tuple[Tensor, ...]:
        ids = torch.zeros(1, 2, dtype=torch.int64)
        return layers_of(network(input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True))

    def run(self, values: Int[Tensor, "items length"], lengths: Int[Tensor, " items"]) -> tuple[Tokens, ...]:
        mask = torch.arange(values.shape[1], device=values.device) < lengths[:, None]
        # A row without a token still needs one key to attend to; what comes out is masked.
        attended = mask.clone()
        attended[:, 0] = True
        output = self.network(
            input_ids=values.long(), attention_mask=attended.long(), output_hidden_states=self.needs_layers
        )
        layers = layers_of(output) if self.needs_layers else (output.last_hidden_state,)
        chosen = self.chosen if self.needs_layers else (0,)
        return tuple(Tokens(layers[layer], mask, (mask.shape[1],)) for layer in chosen)


def _limit(settings: dict[str, Any], name: str) -> int | None:
    limit = settings.get(name)
    return limit if isinstance(limit, int) and 0 < limit < _NO_LIMIT else None


def _positions(settings: Any) -> int | None:
    """Tokens that a model has positions for; None where its positions are relative, and so without end.

    What the config says is not always what the model has: RoBERTa-like ones lose padding_idx + 1 rows of the table.
    """
    stated = getattr(settings, "max_position_embeddings", None)
    limits = [stated] if isinstance(stated, int) and stated > 0 else []
    import transformers

    try:
        with torch.device("meta"):
            model = from_settings(transformers.AutoModel, settings)
    except WeightsError:  # a model that computes while it is built
        return min(limits, default=None)
    network = model.get_encoder() if settings.is_encoder_decoder else model
    for name, module in network.named_modules():
        if isinstance(module, nn.Embedding) and name.rpartition(".")[2] in _TABLES:
            offset = 0 if module.padding_idx is None else module.padding_idx + 1
            limits.append(module.num_embeddings - offset)
    return min(limits, default=None)


# As transformers' models name their tables of absolute positions.
_TABLES = ("position_embeddings", "position_embedding", "embed_positions", "positions_embed", "wpe")
