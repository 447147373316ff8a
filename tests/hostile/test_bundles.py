"""Whatever a bundle holds, it loads without a network or ends in a message that names it."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from bundle_files import manifest_of, rewrite_manifest, with_new_checksums
from hostile_mutations import nested, with_other_bytes, with_other_header, with_other_values
from tokenizers import Tokenizer, models, pre_tokenizers

import polysense
from polysense.bundle import load
from polysense.errors import BundleError, UserError
from polysense.nn.bundled import bounded_build

SMALL = [
    "model.width=16", "training.epochs=1", "training.batch_size=16", "training.tensorboard=false",
    "evaluation.bootstrap=0", "evaluation.samples=0", "evaluation.report=false", "evaluation.contribution=false",
]  # fmt: skip
ROWS = [{"text": "a red car", "photo": None, "note": "good", "shop": "a"}]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> Any:
        raise AssertionError(f"the network was asked: {arguments}")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a transformers and a timm network."""
    folder = tmp_path_factory.mktemp("hostile")
    bert = folder / "bert"
    tokenizer = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "good": 2, "bad": 3}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(bert)
    transformers.BertModel(
        transformers.BertConfig(
            num_hidden_layers=1, hidden_size=16, num_attention_heads=2, intermediate_size=16, vocab_size=4
        )
    ).save_pretrained(bert)
    from PIL import Image

    rows = []
    for number in range(40):
        path = folder / f"{number}.png"
        Image.new("RGB", (32, 32), (number, 0, 0)).save(path)
        rows.append({"text": f"good {number % 3}", "photo": str(path), "label": "ab"[number % 2]})
    run = polysense.fit(
        rows,
        target="label",
        output=folder / "run",
        columns={"text": "text", "photo": "image"},
        overrides=[
            *SMALL,
            f"model.encoders.text={{type: pretrained, path: {bert}}}",
            "model.encoders.photo={type: timm, name: resnet10t, pretrained: false, tune: full}",
        ],
        progress=False,
    )
    shutil.rmtree(bert)
    return run.folder / "bundle"


def test_a_bundle_asks_no_network(pretrained: Path) -> None:
    assert len(load(pretrained).predict(ROWS)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"_name_or_path": "google/bert"},
        {"auto_map": {"AutoModel": "evil--repo.Model"}},
        {"model_type": "timm_wrapper", "architecture": "hf-hub:evil/model"},
        {"model_type": "timm_backbone", "backbone": "hf-hub:evil/model", "use_pretrained_backbone": True},
        {"model_type": "detr", "backbone": "evil/model", "use_pretrained_backbone": True},
        {"model_type": "dpt", "backbone_config": None, "backbone": "evil/model"},
        {"_attn_implementation": "evil/kernels", "attn_implementation": "evil/kernels"},
        {"quantization_config": {"quant_method": "gptq", "tokenizer": "evil/model"}},
        {"adapters": "evil/adapter", "peft_type": "LORA", "base_model_name_or_path": "evil/base"},
    ],
)
def test_settings_reach_for_no_hub(pretrained: Path, change: dict[str, Any], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pretrained, tmp_path / "bundle"))
    settings = next(folder.glob("resources/*/config.json"))
    settings.write_text(json.dumps(json.loads(settings.read_text()) | change))
    try:
        bundle = load(with_new_checksums(folder))
    except BundleError:
        return
    bundle.predict(ROWS)


def test_a_recipe_in_a_bundle_names_networks_that_nobody_asks(pretrained: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pretrained, tmp_path / "bundle"))
    manifest = manifest_of(folder)
    for name, change in {
        "text": {"path": "https://evil.example/model", "revision": "main"},
        "photo": {"name": "hf-hub:evil/model", "pretrained": True, "weights": "/etc/passwd"},
    }.items():
        manifest["model"]["encoders"][name] |= change
    rewrite_manifest(folder, manifest)
    assert len(load(folder).predict(ROWS)) == 1


def test_a_link_out_of_the_bundle_is_refused(pretrained: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pretrained, tmp_path / "bundle"))
    (folder / "resources" / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(BundleError, match=r"passwd: is a link out of the bundle"):
        load(folder)


def test_an_imputer_within_an_imputer_is_refused(pretrained: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pretrained, tmp_path / "bundle"))
    manifest = manifest_of(folder)
    manifest["imputer"] = {"imputations": {"text": "text"}, "reads": ["photo"]}
    rewrite_manifest(folder, manifest)
    (folder / "imputer").symlink_to(folder)
    with pytest.raises(BundleError, match="its imputer has an imputer"):
        load(folder)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", None, "found the format None"),
        ("format", 10**30, "in format 1000000000000000000000000000000"),
        ("format", True, "found the format True"),
        ("packages", {"polysense-evil": "1"}, "needs polysense-evil 1, which is not installed"),
        ("packages", ["a"], r"packages: found \['a'\], expected keys and values"),
        ("packages", {"": "1"}, "packages: found ''"),
        ("model", "x", "model: found 'x'"),
        ("info", 3, "info: found 3"),
        ("imputer", {"imputations": {}, "reads": [1]}, "imputer: expected names of columns"),
        ("imputer", "../..", "imputer: found"),
        ("sha256", None, "sha256: found None"),
    ],
)
def test_what_is_wrong_in_a_manifest_is_named(
    pretrained: Path, key: str, value: Any, message: str, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(pretrained, tmp_path / "bundle"))
    rewrite_manifest(folder, manifest_of(folder) | {key: value})
    with pytest.raises(BundleError, match=message):
        load(folder)


def test_a_manifest_that_is_nested_too_deeply_is_refused(pretrained: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pretrained, tmp_path / "bundle"))
    (folder / "bundle.json").write_text(json.dumps(manifest_of(folder) | {"model": nested(500)}))
    with pytest.raises(BundleError, match="nested too deeply"):
        load(folder)


@pytest.mark.parametrize(("key", "value"), [("width", 1_000_000), ("width", 15), ("fusion", {"type": "transformer"})])
def test_a_model_of_another_size_takes_no_memory(pretrained: Path, key: str, value: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pretrained, tmp_path / "bundle"))
    manifest = manifest_of(folder)
    manifest["model"][key] = value
    rewrite_manifest(folder, manifest)
    with pytest.raises(BundleError, match=r"bundle: .*the bundle's weights (are of no such model|hold)"):
        load(folder)


@pytest.mark.parametrize("pattern", ["*/config.json", "*/timm.json"])
@pytest.mark.parametrize("name", ["num_hidden_layers", "num_layers_of_a_library_that_nobody_knows"])
def test_a_library_is_asked_for_no_million_layers(pretrained: Path, pattern: str, name: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pretrained, tmp_path / "bundle"))
    settings = next(folder.glob(f"resources/{pattern}"))
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {name: 10**9}))
    with contextlib.suppress(BundleError) if "nobody" in name else pytest.raises(BundleError, match="found 1000000000"):
        load(with_new_checksums(folder))


def test_a_build_of_many_more_parts_than_weights_ends_in_seconds(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"more than 20,020 layers and parameters, and the bundle holds 2 weights"):
        with bounded_build(2, tmp_path), torch.device("meta"):
            torch.nn.ModuleList(torch.nn.Linear(1, 1) for _ in range(10**9))
    with bounded_build(2, tmp_path):  # the count is this build's own
        torch.nn.ModuleList(torch.nn.Linear(1, 1) for _ in range(5000))


def fuzzed(bundle: Path, seed: int, folder: Path) -> None:
    """Loads and runs a bundle with one file mutated; anything but a result or a UserError is raised."""
    draws = random.Random(seed)
    work = Path(shutil.copytree(bundle, folder / str(seed)))
    names = sorted(str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file())
    names = [name for name in names if not name.endswith(".md")]
    path = work / draws.choice([*names, *["bundle.json", "processor/processor.json"] * 2])
    if path.suffix == ".json" and draws.random() < 0.85:
        path.write_text(json.dumps(with_other_values(json.loads(path.read_text()), draws)))
    elif path.suffix == ".safetensors" and draws.random() < 0.6:
        path.write_bytes(with_other_header(path.read_bytes(), draws))
    else:
        path.write_bytes(with_other_bytes(path.read_bytes(), draws))
    with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):  # of a manifest that is none any more
        with_new_checksums(work) if path.name != "bundle.json" else rewrite_manifest(work, manifest_of(work))
    with contextlib.suppress(UserError):  # a BundleError; where columns are renamed, a TableError
        load(work, device="cpu").predict(ROWS, batch_size=2)
    shutil.rmtree(work)


@pytest.mark.parametrize("start", [0, 12])
def test_a_mutated_bundle_ends_in_a_message(start: int, pretrained: Path, tmp_path: Path) -> None:
    for seed in range(start, start + 12):
        fuzzed(pretrained, seed, tmp_path)


def test_a_mutated_bundle_of_several_targets_ends_in_a_message(
    trained: Callable[[str], polysense.Run], tmp_path: Path
) -> None:
    for seed in range(20):
        fuzzed(trained("several").folder / "bundle", seed, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("start", range(100, 600, 100))
def test_many_mutated_bundles_end_in_a_message(
    start: int, pretrained: Path, trained: Callable[[str], polysense.Run], tmp_path: Path
) -> None:
    for seed in range(start, start + 100):
        fuzzed(pretrained if seed % 3 else trained("several").folder / "bundle", seed, tmp_path)
