"""What every test runs under: shapes checked, one thread, and the real data only where somebody says it lies."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

if os.environ.get("POLYSENSE_TYPECHECK", "1") != "0":
    # Before anything of polysense is imported: every annotated shape and type is checked on every call.
    # Off (POLYSENSE_TYPECHECK=0) for torch.compile(fullgraph=True), which can't trace the checks, and for timings.
    from jaxtyping import install_import_hook

    install_import_hook("polysense", "beartype.beartype")

import torch
from hypothesis import HealthCheck, settings

# Sums of floats depend on the number of threads, and two test workers share the machine.
torch.set_num_threads(1)

# The same examples every time, so that a red test is red for everybody; a shared machine makes deadlines noise.
# `pytest --hypothesis-profile=search` looks for new ones.
_SLOW_MACHINE = [HealthCheck.too_slow]
settings.register_profile("polysense", derandomize=True, deadline=None, suppress_health_check=_SLOW_MACHINE)
settings.register_profile("search", deadline=None, max_examples=2000, suppress_health_check=_SLOW_MACHINE)
settings.load_profile("polysense")


_DEPRECATIONS = ("DeprecationWarning", "PendingDeprecationWarning", "FutureWarning")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--list-deprecations",
        action="store_true",
        help="list third parties' deprecations at the end instead of failing; other warnings still are errors",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--list-deprecations"):
        for category in _DEPRECATIONS:
            config.addinivalue_line("filterwarnings", f"always::{category}")
        config.pluginmanager.register(Deprecations(), "deprecations")


class Deprecations:
    """The deprecations of a whole session, by package and place, instead of pytest's list by test."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str, str, str]] = Counter()

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        self.counts[describe(warning_message)] += 1

    @pytest.hookimpl(hookwrapper=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> Iterator[None]:
        terminalreporter.stats.pop("warnings", None)  # said below, once for each place
        yield
        if self.counts:
            terminalreporter.section("deprecations of third parties")
        for (package, place, category, text), count in sorted(self.counts.items()):
            terminalreporter.line(f"{package}: {place}: {category}: {text} ({count} times)")


def describe(warning: warnings.WarningMessage) -> tuple[str, str, str, str]:
    """(package, file:line, category, first line) of a warning. The package is the one whose file warns, or, where the
    place is ours, "called by polysense"."""
    path = Path(warning.filename)
    parts = path.parts
    where = parts[parts.index("site-packages") + 1 :] if "site-packages" in parts else ()
    package = where[0].removesuffix(".py") if where else "called by polysense"
    place = "/".join(where) if where else "/".join(parts[-3:])
    text = (str(warning.message).strip().splitlines() or [""])[0]
    return package, f"{place}:{warning.lineno}", warning.category.__name__, text


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever asks for the fixture needs the data: the marker follows."""
    for item in items:
        if "real_data" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.real_data)


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """Gives the folder of a real data set by its name, or skips the test and says why."""

    def folder(name: str) -> Path:
        root = os.environ.get("POLYSENSE_REAL_DATA")
        if not root:
            pytest.skip("POLYSENSE_REAL_DATA names no folder of data sets")
        assert Path(root).is_dir(), f"POLYSENSE_REAL_DATA names {root}, which is not a folder"
        found = Path(root) / name
        if not found.is_dir():
            pytest.skip(f"this data set is not there: {found} is not a folder")
        return found

    return folder


CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="session")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Gives the folder of a tiny random language model with its tokenizer: gpt2 (no token but the end), llama (a begin
    that its tokenizer adds) or qwen2 (a chat template)."""
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = _tiny_language_model(kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    return folder


def _tiny_language_model(kind: str, folder: Path) -> Path:
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    special = {
        "gpt2": {"eos_token": "<|endoftext|>"},
        "llama": {"bos_token": "<s>", "eos_token": "</s>"},
        "qwen2": {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "additional": "<|im_start|>"},
    }[kind]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        ["Question: what colour is it? Answer: red, green, blue or yellow", "user assistant system image"] * 3,
        trainers.BpeTrainer(
            vocab_size=320,
            special_tokens=list(special.values()),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    if kind == "llama":
        begin = tokenizer.token_to_id("<s>")
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", begin)])
    named = {name: token for name, token in special.items() if name != "additional"}
    wrapper = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)
    if kind == "qwen2":
        wrapper.chat_template = CHAT_TEMPLATE
    wrapper.save_pretrained(folder)
    size = tokenizer.get_vocab_size() + 3  # published models have more embeddings than tokens
    torch.manual_seed(0)
    if kind == "gpt2":
        end = tokenizer.token_to_id("<|endoftext|>")
        settings = transformers.GPT2Config(
            vocab_size=size, n_embd=32, n_layer=2, n_head=2, n_positions=96, bos_token_id=end, eos_token_id=end
        )
        model = transformers.GPT2LMHeadModel(settings)
    else:
        shape = {
            "vocab_size": size,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 128,
            "tie_word_embeddings": kind == "qwen2",
            "bos_token_id": 0,
            "eos_token_id": 1,
        }
        model = (
            transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape))
            if kind == "llama"
            else transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**shape))
        )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)  # random, and yet far from even
    model.save_pretrained(folder)
    return folder
