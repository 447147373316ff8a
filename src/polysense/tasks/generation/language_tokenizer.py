"""The tokenizer of a pretrained language model, for texts that this model is to write.

The ids of padding and begin are reserved behind the model's own, since published tokenizers often have one token for
several of them (GPT-2 has one for everything), and a padding that is also the end would be counted out of the loss. The
model never sees either. Texts can't spell control tokens; a chat's template can.

The folder of a trained model gets the tokenizer itself, so that it needs neither the language model's folder nor a
network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from polysense.core.files import write_text
from polysense.core.json import read_json, write_json
from polysense.data.pretrained_tokenizer import encode_text, fast_tokenizer
from polysense.errors import BundleError, ColumnError, WeightsError
from polysense.tasks.generation.record import GenerationRequirements
from polysense.tasks.generation.tokenizer import read_tokenizer, tidy

__all__ = ["LanguageModelTokenizer"]

_FILE, _STATE = "tokenizer.json", "language_model.json"
# One of these is in every folder that a tokenizer was saved to.
_FILES = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "tekken.json")


@dataclass(frozen=True, eq=False)
class LanguageModelTokenizer:
    """Encodes and decodes.

    Attributes:
        tokenizer: The model's own.
        num_embeddings: Token ids that the model knows: [0, num_embeddings).
        end_id: What ends a text.
        start_id: What the model expects before anything else; None if nothing.
        template: The chat template, in Jinja; None without one.
        named: What a template may name: "bos_token", "eos_token", ...
        lowercase: Whether capitals are taken for small letters.
    """

    tokenizer: Tokenizer
    num_embeddings: int
    end_id: int
    start_id: int | None
    template: str | None
    named: Mapping[str, str]
    lowercase: bool

    @property
    def padding_id(self) -> int:
        """What fills the padding."""
        return self.num_embeddings

    @property
    def begin_id(self) -> int:
        """What every text begins with."""
        return self.num_embeddings + 1

    @property
    def vocabulary_size(self) -> int:
        """Token ids run over [0, vocabulary_size)."""
        return self.num_embeddings + 2

    @property
    def unknown(self) -> int | None:
        """The id of what the vocabulary lacks; None where it lacks nothing."""
        token = self.named.get("unk_token")
        result: int | None = None if token is None else self.tokenizer.token_to_id(token)
        return result

    @staticmethod
    def open(required: GenerationRequirements, target: str, *, lowercase: bool) -> LanguageModelTokenizer:
        """The tokenizer that a head asks for.

        Args:
            required: Its folder or hub name, and how many ids the model knows.
            target: Whose texts it is for, for messages.
            lowercase: Whether to take capitals for small letters.

        Raises:
            WeightsError: It can't be had.
            ColumnError: It can't serve.
        """
        path = required.tokenizer
        assert path is not None
        assert required.num_embeddings is not None
        folder = Path(path).expanduser()
        if folder.is_dir() and not any((folder / name).is_file() for name in _FILES):
            raise WeightsError(
                f"target {target!r}: {path} holds no tokenizer; expected {_FILES[0]} or the like beside the model, as "
                "tokenizer.save_pretrained writes it"
            )
        backend, wrapper = fast_tokenizer(
            str(folder) if folder.is_dir() else path,
            f"target {target!r}: the tokenizer of {path!r}",
            None if folder.is_dir() else required.revision,
        )
        ends = (wrapper.eos_token_id, wrapper.sep_token_id, wrapper.bos_token_id)
        end = next((result for result in ends if result is not None), None)
        if end is None:
            raise ColumnError(
                f"target {target!r}: the tokenizer of {path!r} has no token that ends a text; set its eos_token and "
                "save it again"
            )
        largest = max(backend.get_vocab(with_added_tokens=True).values(), default=0)
        if largest >= required.num_embeddings:
            raise ColumnError(
                f"target {target!r}: the tokenizer of {path!r} has ids up to {largest}, the language model knows "
                f"{required.num_embeddings}; they don't belong together, or model.resize_token_embeddings was left out"
            )
        first = wrapper("a")["input_ids"][:1]
        template = wrapper.chat_template
        named = {name: str(value) for name, value in wrapper.special_tokens_map.items() if isinstance(value, str)}
        tokenizer = Tokenizer.from_str(backend.to_str())
        return LanguageModelTokenizer(
            tokenizer=_ready(tokenizer),
            num_embeddings=required.num_embeddings,
            end_id=int(end),
            start_id=wrapper.bos_token_id if first == [wrapper.bos_token_id] else None,
            template=template.get("default") if isinstance(template, dict) else template,
            named=named,
            lowercase=lowercase,
        )

    @property
    def control_tokens(self) -> list[str]:
        """The spellings of the tokens that no text may spell."""
        added: dict[int, Any] = self.tokenizer.get_added_tokens_decoder()
        return [str(token.content) for token in added.values() if token.special]

    def encode(self, text: str, *, control: bool = False) -> list[int]:
        """A text's token ids, as it is, without begin and end.

        Args:
            text: White space around it counts.
            control: Whether it may spell control tokens, as a rendered chat does.
        """
        self.tokenizer.encode_special_tokens = not control
        ids: list[int] = encode_text(
            self.tokenizer, text.lower() if self.lowercase else text, add_special_tokens=False
        ).ids
        self.tokenizer.encode_special_tokens = True
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text that ids spell, up to the end token, without white space around it."""
        retained = []
        for token in ids:
            if token == self.end_id:
                break
            if token < self.num_embeddings:
                retained.append(int(token))
        return tidy(str(self.tokenizer.decode(retained, skip_special_tokens=True)))

    def save(self, folder: Path) -> None:
        """Writes tokenizer.json, and what else is known in language_model.json."""
        write_text(folder / _FILE, self.tokenizer.to_str(pretty=True))
        state = {
            "num_embeddings": self.num_embeddings,
            "end_id": self.end_id,
            "start_id": self.start_id,
            "template": self.template,
            "named": dict(self.named),
        }
        write_json(folder / _STATE, state)

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether `save` wrote this folder."""
        return (folder / _STATE).is_file()

    @staticmethod
    def load(folder: Path, *, lowercase: bool) -> LanguageModelTokenizer:
        """Reads what `save` wrote.

        Raises:
            BundleError: A file is missing or broken.
        """
        try:
            state = read_json(folder / _STATE, dict)
            tokenizer = _ready(read_tokenizer(folder / _FILE))
            return LanguageModelTokenizer(tokenizer=tokenizer, lowercase=lowercase, **state)
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise BundleError(f"{folder}: the language model's tokenizer can't be read: {error}") from None


def _ready(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    return tokenizer
