"""A transformers backbone for texts (BERT-like), with its own tokenizer."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from polysense.core.schema import Column
from polysense.core.tokens import Tokens
from polysense.modalities.text.record import TextColumn, TextRequirements
from polysense.nn.pretrained import Pretrained, PretrainedConfig

__all__ = ["PretrainedText"]


class PretrainedText(Pretrained):
    """One token for each of the backbone's."""

    @classmethod
    def requested(cls, config: PretrainedConfig, settings: Any) -> TextRequirements:
        longest = int(getattr(settings, "max_position_embeddings", 0) or 0)
        # RoBERTa-like models lose padding_idx + 1 positions to the padding's offset.
        if settings.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer"):
            longest -= int(settings.pad_token_id or 0) + 1
        return TextRequirements(
            tokenizer=None if config.weights == "random" else config.path, max_tokens=longest if longest > 0 else None
        )

    @classmethod
    def adapt(cls, settings: Any, config: PretrainedConfig, column: Column) -> None:
        if config.weights == "random":
            column = TextColumn.of(column)
            settings.vocab_size, settings.pad_token_id = column.vocabulary_size, column.padding_id

    def run(self, values: Int[Tensor, "items length"], lengths: Int[Tensor, " items"]) -> Tokens:
        mask = torch.arange(values.shape[1], device=values.device) < lengths[:, None]
        # A row without a token still needs one key to attend to; what comes out is masked.
        attended = mask.clone()
        attended[:, 0] = True
        output = self.network(input_ids=values.long(), attention_mask=attended.long())
        return Tokens(output.last_hidden_state, mask, (mask.shape[1],))
