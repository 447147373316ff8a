"""What every test runs under: shapes checked, one thread, and the real data only where somebody says it lies."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

# No test depends on the models that a developer's cache holds; a test of the search takes this back.
os.environ["POLYSENSE_PRETRAINED"] = "off"
# Nor on the features that its cache holds; the folder goes with the process.
os.environ["POLYSENSE_CACHE"] = tempfile.mkdtemp(prefix="polysense-cache-")

sys.path.insert(0, str(Path(__file__).parent / "helpers"))

if os.environ.get("POLYSENSE_TYPECHECK", "1") != "0":
    # Before anything of polysense is imported: every annotated shape is checked on every call; with
    # POLYSENSE_TYPECHECK=all every annotated type too, which takes twice the time.
    # Off (POLYSENSE_TYPECHECK=0) for torch.compile(fullgraph=True), which can't trace the checks, and for timings.
    import shape_checks

    shape_checks.install(everything=os.environ.get("POLYSENSE_TYPECHECK") == "all")

import numpy as np
import runs
import torch
from hypothesis import HealthCheck, settings
from runs import RunOnce

import polysense
import polysense.presets.estimators as default_models
from polysense.core.batch import Batch, ColumnBatch, ValueTruth
from polysense.core.prediction import Prediction
from polysense.core.registry import modality
from polysense.core.sample import SourceInfo
from polysense.core.schema import Column, Requirements, Schema, Target
from polysense.data.column import ColumnConfig, ColumnProcessor
from polysense.modalities.audio.record import AudioColumn
from polysense.modalities.category.record import CategoryColumn
from polysense.modalities.image.record import ImageColumn
from polysense.modalities.number.record import NumberColumn
from polysense.modalities.text.record import TextColumn
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.multilabel.record import MultilabelTarget
from polysense.tasks.regression.record import RegressionTarget

# Sums of floats depend on the number of threads, and two test workers share the machine.
torch.set_num_threads(1)

# The same examples every time, so that a red test is red for everybody; a shared machine makes deadlines noise.
# `pytest --hypothesis-profile=search` looks for new ones.
_SLOW_MACHINE = [HealthCheck.too_slow]
settings.register_profile("polysense", derandomize=True, deadline=None, suppress_health_check=_SLOW_MACHINE)
settings.register_profile("search", deadline=None, max_examples=2000, suppress_health_check=_SLOW_MACHINE)
settings.load_profile("polysense")


# The simple models that every recipe has by default take seconds, which would be most of what tests that train do.
# `full_simple_models` takes this back where it matters how good they are.
_FULL = {name: getattr(default_models, name) for name in ("ForestEstimatorConfig", "BoostingEstimatorConfig")}
default_models.ForestEstimatorConfig = partial(_FULL["ForestEstimatorConfig"], num_trees=10)
default_models.BoostingEstimatorConfig = partial(_FULL["BoostingEstimatorConfig"], max_iterations=10)

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


def pytest_unconfigure() -> None:
    shutil.rmtree(os.environ["POLYSENSE_CACHE"], ignore_errors=True)


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


@pytest.fixture(scope="module")
def full_simple_models() -> Iterator[None]:
    """Forests and boosting of their own size by default, in the rest of a module."""
    with pytest.MonkeyPatch.context() as patch:
        for name, config in _FULL.items():
            patch.setattr(default_models, name, config)
        yield


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """The command line sets up the library's logger; other tests must not see that."""
    logger = logging.getLogger("polysense")
    before = logger.level, logger.propagate, list(logger.handlers)
    yield
    logger.level, logger.propagate, logger.handlers[:] = before[0], before[1], before[2]


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


@pytest.fixture(scope="session")
def run_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunOnce]:
    """Trains under a name in a folder of its own, once for all workers; nobody may write there afterwards."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    made: dict[str, polysense.Run] = {}
    before: dict[str, Mapping[str, tuple[int, int]]] = {}

    def run(name: str, train: Callable[[Path], polysense.Run]) -> polysense.Run:
        if name not in made:
            made[name] = runs.once(root / "trained" / name, train)
            before[name] = runs.stamps(made[name].folder)
        return made[name]

    yield run
    for name, files in before.items():
        assert runs.stamps(made[name].folder) == files, f"a test wrote to the shared run {name!r}; let it copy the run"


@pytest.fixture(scope="session")
def trained(run_once: RunOnce) -> Callable[[str], polysense.Run]:
    """Gives the small trained run of a task, see `helpers/runs.py`; its table lies beside its folder."""
    return lambda task: run_once(task, runs.RUNS[task])


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
        ["Question: what color is it? Answer: red, green, blue or yellow", "user assistant system image"] * 3,
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


@pytest.fixture
def schema() -> Schema:
    return Schema(
        columns=(
            ImageColumn(
                name="photo",
                image_size=(16, 24),
                num_channels=3,
                mean=(0.5, 0.4, 0.3),
                std=(0.2, 0.2, 0.2),
            ),
            AudioColumn(name="speech", sample_rate=8000, typical_length=1600),
            TextColumn(name="note.of day", vocabulary_size=50, typical_length=8),
            NumberColumn(name="age", mean=0.0, std=1.0),
            CategoryColumn(name="type", num_categories=5),
        ),
        targets=(
            ClassificationTarget(
                name="label",
                columns=("label",),
                classes=("a", "b", "c"),
                class_counts=(5, 3, 2),
                num_rows=10,
            ),
            MultilabelTarget(
                name="tags",
                columns=("tags",),
                classes=("x", "y"),
                class_counts=(4, 2),
                num_rows=10,
            ),
            RegressionTarget(
                name="size",
                columns=("width", "height"),
                mean=(10.0, -5.0),
                std=(2.0, 4.0),
                num_rows=10,
            ),
        ),
    )


def random_column(column: Column, batch: int, length: int, generator: torch.Generator, items: int = 1) -> ColumnBatch:
    def integers(low: int, high: int, *shape: int) -> torch.Tensor:
        return torch.randint(low, high, shape, generator=generator)

    lengths = torch.ones(batch, items, dtype=torch.int64)
    match column.modality:
        case "image":
            height, width = column.image_size or (8, 8)
            values = integers(0, 256, batch, items, column.num_channels or 1, height, width).to(torch.uint8)
        case "audio":
            values = integers(-9000, 9000, batch, items, length).to(torch.int16)
            lengths = integers(length // 2, length + 1, batch, items)
        case "text":
            values = integers(0, column.vocabulary_size or 1, batch, items, length).to(torch.int32)
            lengths = integers(1, length + 1, batch, items)
        case "number":
            values = torch.randn(batch, items, 1, generator=generator)
        case _:
            values = integers(0, column.num_categories or 1, batch, items, 1)
    return ColumnBatch(values=values, lengths=lengths)


@pytest.fixture
def make_batch(schema: Schema) -> Callable[..., Batch]:
    def make(batch: int = 4, seed: int = 0, audio_length: int = 1600, text_length: int = 6) -> Batch:
        generator = torch.Generator().manual_seed(seed)
        sizes = {"audio": audio_length, "text": text_length}
        return Batch(
            rows=torch.arange(batch),
            columns={c.name: random_column(c, batch, sizes.get(c.modality, 1), generator) for c in schema.columns},
            truths={
                "label": ValueTruth(
                    values=torch.randint(0, 3, (batch,), generator=generator),
                    present=torch.ones(batch, dtype=torch.bool),
                ),
                "tags": ValueTruth(
                    values=torch.randint(0, 2, (batch, 2), generator=generator).float(),
                    present=torch.ones(batch, dtype=torch.bool),
                ),
                "size": ValueTruth(
                    values=torch.randn(batch, 2, generator=generator), present=torch.ones(batch, dtype=torch.bool)
                ),
            },
        )

    return make


@pytest.fixture
def classification() -> Callable[[int], Target]:
    def build(num_classes: int) -> Target:
        names = tuple(f"class {i}" for i in range(num_classes))
        return ClassificationTarget(name="y", columns=("y",), classes=names)

    return build


@pytest.fixture
def predict_classes() -> Callable[..., Prediction]:
    def build(truth: np.ndarray, num_classes: int, *, seed: int = 0, decimals: int | None = None) -> Prediction:
        """Probabilities that lean towards the truth; rounded scores have ties."""
        draws = np.random.default_rng(seed)
        scores = draws.normal(size=(len(truth), num_classes))
        scores[np.arange(len(truth)), truth] += 1.0
        if decimals is not None:
            scores = scores.round(decimals)
        probabilities = torch.tensor(scores, dtype=torch.float32).softmax(dim=1)
        return {"values": probabilities.argmax(dim=1), "probabilities": probabilities}

    return build


Fit = Callable[..., ColumnProcessor]


def _requirements(config: ColumnConfig, fields: dict[str, Any]) -> Requirements:
    """What an encoder of the column's modality asks for, by the record beside that of its columns."""
    record = modality(config.modality).record
    name = record.__name__.replace("Column", "Requirements")
    return vars(sys.modules[record.__module__])[name](**fields) if fields else Requirements()


@pytest.fixture
def fit(tmp_path: Path) -> Fit:
    """Fits a column on cells and gives its processor."""

    def run(config: ColumnConfig, cells: Sequence[object], **requirements: Any) -> ColumnProcessor:
        processor = config.build("c")
        sources = [SourceInfo(table="t.csv", row=i, column="c") for i in range(len(cells))]
        assert processor.fit(cells, sources, tmp_path, _requirements(config, requirements)) is processor.column
        return processor

    return run


@pytest.fixture
def source() -> SourceInfo:
    """Where the cells of these tests come from."""
    return SourceInfo(table="t.csv", row=0, column="c")
