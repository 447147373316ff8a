"""What the pages show works: every command, every piece of Python, every part of a recipe.

A section's commands run in order in a folder of their own, through the real command line. A training whose result
nothing in the section uses (it has no `-o`) ends once its recipe and tables are settled; the slow half of these tests
trains it too, small. Nothing is left out but what NOT_RUN lists, with its reason.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from inspect import signature
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import pytest
import typer
from doc_blocks import ROOT, Block, commands, inline, read_blocks
from doc_keys import complete, has_key
from doc_stages import PRODUCTS, SMALL, STAGES, Stage

import polysense
from polysense import api
from polysense.cli.app import app, main
from polysense.config.base import members
from polysense.config.codec import parse_yaml
from polysense.recipe import load_recipe
from polysense.workflows.comparison.sweep import make_variants, parse_over
from polysense.workflows.prepare import prepare, pretrained_override, split_tables

PAGES = ("README.md", "docs/guide.md", "docs/pretrained.md", "docs/results.md")
BLOCKS = {page: read_blocks(page) for page in PAGES}

# Why a command is not run as it stands, and what is checked in place of it.
NOT_RUN = {
    "make": "would install an environment: the target must stand in the Makefile",
    "pip": "would install: the extra must stand in pyproject.toml",
    "xdg-open": "opens a browser",
    "torchrun": "several processes are tested in tests/training: the command that it starts is resolved",
    "python": "a benchmark of minutes: its file and the keys that it changes must be there; tables are made, few rows",
}
# Sections whose commands name what nobody has here, and how they are checked.
UNRUNNABLE = {
    "A pretrained language model as decoder": "needs a language model's weights: resolved, never trained",
}

_PREPARED = {
    "Decoding strategies": "bundle = polysense.load('trained')\nrows = 'photos.csv'",
    "Search": "import numpy as np\ndraws = np.random.default_rng(0)\nids = list(range(30))\nqueries = others = None\n"
    "vectors, others, queries = (draws.normal(size=(n, 256)).astype('float32') for n in (30, 10, 2))\n"
    "labels, years = ['a'] * 30, [1990 + i for i in ids]",
}

USAGE_ERROR: Any = typer.BadParameter.__mro__[1]  # as in polysense.cli.app


class Settled(BaseException):
    """A training that need not run: its recipe and tables are in order."""


def sections(kind: str) -> list[pytest.param]:
    """Per page and section that has blocks of a kind: these blocks."""
    found: dict[tuple[str, str], list[Block]] = {}
    for page in ("README.md", "docs/guide.md"):
        for block in BLOCKS[page]:
            if block.kind == kind:
                found.setdefault((page, block.section), []).append(block)
    return [pytest.param(section, blocks, id=f"{page}-{section}") for (page, section), blocks in found.items()]


def each(kind: str, pages: tuple[str, ...] = PAGES) -> list[pytest.param]:
    """Every block of a kind."""
    return [
        pytest.param(block, id=f"{page}:{block.line}") for page in pages for block in BLOCKS[page] if block.kind == kind
    ]


def test_every_block_is_of_a_kind_that_is_checked() -> None:
    kinds = {"shell", "python", "yaml", "json", "toml", "table"}
    odd = [f"{block}: {block.kind}" for blocks in BLOCKS.values() for block in blocks if block.kind not in kinds]
    assert not odd
    assert len(BLOCKS["README.md"]) >= 10
    assert len(BLOCKS["docs/guide.md"]) > 30
    listed = {block.section for blocks in BLOCKS.values() for block in blocks}
    assert set(STAGES) | set(_PREPARED) | set(UNRUNNABLE) <= listed, "a section that no page has any more"


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Stage]:
    """Sets a section's stage in an empty folder, and makes trainings small or ends them before they begin."""

    def small_fit(source: Any, *, overrides: Any = (), resume: bool = False, **options: Any) -> Any:
        return real_fit(source, overrides=[*overrides, *SMALL], resume=resume, **options | {"progress": False})

    def settle(source: Any, *, overrides: Any = (), output: Any = None, **options: Any) -> Any:
        if output is not None:
            return small_fit(source, overrides=overrides, output=output, **options)
        overrides = [*pretrained_override(options.pop("pretrained", None)), *overrides]
        options = {name: value for name, value in options.items() if name in signature(prepare).parameters}
        prepared = prepare(source, overrides=overrides, **options)
        split_tables(prepared.recipe.data, prepared.table, 0)
        raise Settled

    def settle_compare(source: Any, over: Any, **options: Any) -> NoReturn:
        options = {name: value for name, value in options.items() if name in signature(prepare).parameters}
        prepared = prepare(source, **options)
        for variant in make_variants(prepared.recipe, parse_over(over)):
            assert variant.recipe is not None, variant
        raise Settled

    def small_compare(source: Any, over: Any, **options: Any) -> Any:
        overrides = [*options.pop("overrides", ()), *SMALL]
        return real_compare(
            source, over, **options | {"overrides": overrides, "seeds": 1, "unimodal": False, "jobs": 1}
        )

    def small_demo(*arguments: Any, **options: Any) -> NoReturn:
        raise Settled

    real_fit, real_compare = api.fit, api.compare
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def up(section: str, *, really: bool) -> Stage:
        found = STAGES.get(section, PRODUCTS)
        found.make(tmp_path)
        if found.train is not None:
            options = dict(found.train)
            table = options.pop("table")
            if found.recipe:
                text = polysense.new(table, **options)
                (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
            if "RUN" in found.names:
                small_fit(table, output=found.names["RUN"], **options)
        # The package looks its names up in api when they are asked for first: what it gives back afterwards must not be
        # what api was given here.
        for module in (polysense, api):
            monkeypatch.setattr(module, "fit", small_fit if really else settle, raising=False)
            monkeypatch.setattr(module, "compare", small_compare if really else settle_compare, raising=False)
            monkeypatch.setattr(module, "demo", small_demo, raising=False)
        return found

    return up


def run_command(words: list[str], stage: Stage, where: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One command of a page, as a reader would type it."""
    program, *rest = (stage.names.get(word, word) for word in words)
    if program != "polysense":
        assert program in NOT_RUN, f"{where}: nothing here runs {program!r}; teach check_unrun, and say why in NOT_RUN"
        check_unrun(program, rest, stage, where, capsys)
        return
    capsys.readouterr()
    try:
        code = main(rest)
    except Settled:
        return
    said = capsys.readouterr()
    assert code == 0, f"{where}: polysense {' '.join(rest)} ended with {code}\n{said.err[-2000:]}"


def check_unrun(program: str, rest: list[str], stage: Stage, where: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What can be known of a command that is not run."""
    match program:
        case "make":
            assert f"\n{rest[0].split('=')[0]}:" in (ROOT / "Makefile").read_text(encoding="utf-8"), where
        case "pip":
            extra = rest[-1].partition("[")[2].rstrip("]")
            project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
            assert rest[0] == "install", where
            assert not extra or extra in project["optional-dependencies"], f"{where}: there is no extra {extra!r}"
        case "python":
            assert (ROOT / rest[0]).is_file(), f"{where}: there is no {rest[0]}"
            check_keys(rest[1:], where)
            if rest[0] == "benchmarks/tables.py":  # what follows needs its table
                short = [word if before != "--rows" else "40" for before, word in pairwise(rest)]
                subprocess.run([sys.executable, ROOT / rest[0], *short], check=True, capture_output=True)
        case "torchrun":
            started = rest[rest.index("polysense") :]
            output = started.index("-o")
            run_command([*started[:output], *started[output + 2 :]], stage, where, capsys)
        case _:
            assert program == "xdg-open", where


def check_keys(changes: Sequence[str], where: str) -> None:
    """That recipes have the keys that are changed; other words are passed over."""
    for change in changes:
        path, equals, _ = change.partition("=")
        if equals and path.partition(".")[0] in ("data", "model", "training", "evaluation"):
            assert has_key(path), f"{where}: no recipe has the key {path!r}"


def run_section(section: str, blocks: list[Block], stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    for block in blocks:
        for line, words in commands(block):
            run_command(words, stage, f"{block.page}:{line}", capsys)


@pytest.mark.parametrize(("section", "blocks"), sections("shell"))
def test_a_sections_commands_run(
    section: str, blocks: list[Block], stage: Callable[..., Stage], capsys: pytest.CaptureFixture[str]
) -> None:
    run_section(section, blocks, stage(section, really=False), capsys)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("section", "blocks"), [case for case in sections("shell") if case.values[0] not in UNRUNNABLE]
)
def test_a_sections_commands_train(
    section: str, blocks: list[Block], stage: Callable[..., Stage], capsys: pytest.CaptureFixture[str]
) -> None:
    run_section(section, blocks, stage(section, really=True), capsys)


@pytest.mark.parametrize("block", each("python"))
def test_a_piece_of_python_runs(block: Block, stage: Callable[..., Stage], capsys: pytest.CaptureFixture[str]) -> None:
    stage(block.section, really=True)
    listed: dict[str, Any] = {"polysense": polysense}
    exec(_PREPARED.get(block.section, ""), listed)
    padded = "\n" * (block.line - 1) + block.text  # so that a traceback names the page's line
    exec(compile(padded, str(ROOT / block.page), "exec"), listed)


@pytest.mark.parametrize("block", each("yaml"))
def test_a_part_of_a_recipe_is_valid(block: Block) -> None:
    complete(parse_yaml(block.text, str(block)))


@pytest.mark.parametrize("block", each("json"))
def test_a_json_block_is_rows(block: Block) -> None:
    rows = [json.loads(line) for line in block.text.splitlines()]
    assert all(isinstance(row, dict) for row in rows)


@pytest.mark.parametrize("block", each("toml"))
def test_entry_points_are_of_a_known_family(block: Block) -> None:
    for groups in tomllib.loads(block.text)["project"]["entry-points"]:
        assert members(groups.removeprefix("polysense.")), f"{block}: there is no family {groups!r}"


@pytest.mark.parametrize("block", each("table"))
def test_the_products_of_these_tests_are_the_pages(block: Block, tmp_path: Path) -> None:
    PRODUCTS.make(tmp_path)
    made = (tmp_path / "products.csv").read_text(encoding="utf-8").splitlines()
    assert made[0] == block.text.splitlines()[0]


def resolve(words: list[str], where: str) -> None:
    """Whether a command's options exist, and the keys that it changes in an example or in a recipe of any kind."""
    name, *rest = words
    if name in ("--help", "--version"):
        return
    group: Any = typer.main.get_command(app)
    assert name in group.commands, f"{where}: there is no command {name!r}"
    try:
        context = group.commands[name].make_context(name, list(rest))
    except USAGE_ERROR as error:
        if type(error).__name__ == "MissingParameter":  # `polysense train` alone is a name
            return
        pytest.fail(f"{where}: polysense {' '.join(words)}: {error.format_message()}")
    given = context.params
    changed = [change for change in given.get("overrides") or () if "=" in change]
    check_keys([*changed, *(given.get("over") or ())], where)
    source = str(given.get("source", ""))
    if source.startswith("examples/"):
        recipe = load_recipe(ROOT / source, changed)
        if given.get("over"):
            make_variants(recipe, parse_over(given["over"]))


@pytest.mark.parametrize("block", each("shell", ("docs/results.md",)))
def test_the_commands_behind_the_results_still_hold(block: Block) -> None:
    for line, words in commands(block):
        where = f"{block.page}:{line}"
        if words[0] == "python":
            assert (ROOT / words[1]).is_file(), f"{where}: there is no {words[1]}"
            check_keys(words[2:], where)
        else:
            assert words[0] == "polysense", where
            resolve(words[1:], where)


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_keys_within_the_text_exist(page: str) -> None:
    for line, text in inline(page):
        where = f"{page}:{line}"
        words = text.split()
        if words[0] == "polysense" and len(words) > 1:
            resolve(next(iter(commands(Block(page, line, "", "shell", text))))[1][1:], where)
        path, _, _ = text.partition("=")
        if path.split(".")[0] in ("data", "model", "training", "evaluation") and "." in path and " " not in path:
            assert has_key(path), f"{where}: no recipe has the key {path!r}"


def test_keys_that_no_recipe_has_are_told() -> None:
    assert has_key("model.fusion.dropout")
    assert has_key("model.encoders[left.eye].channels")
    assert has_key("data.columns.any name.frames")
    assert not has_key("model.fusion.droput")
    assert not has_key("training.optimizer.learning_rate")
    assert not has_key("evaluation.bootstrap.num")
