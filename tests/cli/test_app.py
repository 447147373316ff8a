from __future__ import annotations

import logging
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.main import get_command

from polysense.cli.app import app, main
from polysense.cli.groups import EXAMPLES, GROUPS
from polysense.errors import ConfigError, TableError, TrainingError, TrainingInterrupted

FakeApi = Any
COMMANDS = [
    "audit", "check", "compare", "demo", "doctor", "evaluate", "list", "new", "predict", "prepare", "report", "runs",
    "schema", "shards", "train",
]  # fmt: skip


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    listed = capsys.readouterr().out
    assert all(re.search(rf"^  {command} +\S", listed, re.MULTILINE) for command in COMMANDS)
    every = [command.name or command.callback.__name__ for command in app.registered_commands]
    assert sorted(every) == sorted(name for names in GROUPS.values() for name in names), "each stands in one group"
    assert sorted(every) == sorted(EXAMPLES)
    assert all(f"{title}:" in listed for title in GROUPS)
    assert max(map(len, listed.splitlines())) <= 80


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"polysense \d+\.\d+\S*\n", capsys.readouterr().out)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    listed = capsys.readouterr().out
    assert f"polysense {command}" in listed
    assert "-q, -v, --debug" in listed
    assert f"Example: {EXAMPLES[command]}" in " ".join(listed.split())
    assert max(map(len, listed.splitlines())) <= 80


@pytest.mark.parametrize("command", sorted(EXAMPLES))
def test_an_example_is_a_line_that_parses(command: str) -> None:
    line = shlex.split(EXAMPLES[command].partition(" > ")[0])[1:]
    parsed = get_command(app)
    context = parsed.make_context("polysense", line)
    name, found, arguments = parsed.resolve_command(context, [*context._protected_args, *context.args])
    assert name == command
    found.make_context(name, arguments, parent=context)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["trian"], "No such command 'trian'"),
        (["train"], "Missing argument 'RECIPE_OR_TABLE'"),
        (["train", "t.csv", "--zzz"], "--zzz"),
        (["train", "t.csv", "--training.epochs=3"], "a recipe's key is set without dashes: training.epochs=VALUE"),
        (["evaluate", "b", "t.csv", "--bootstrap", "many"], "Invalid value for '--bootstrap'"),
        (["evaluate", "b", "t.csv", "--bootstrap", "-1"], "Invalid value for '--bootstrap'"),
        (["compare", "r.yaml"], "Missing option '--over'"),
        (["compare", "r.yaml", "--over", "a=b", "--seeds", "0"], "Invalid value for '--seeds'"),
        (["demo", "--epochs", "0"], "Invalid value for '--epochs'"),
        (["train", "t.csv", "-c", "photo"], "found --column 'photo', expected NAME=KIND"),
        (["train", "t.csv", "-c", "photo=image", "-c", "photo=text"], "--column names 'photo' twice"),
    ],
)
def test_a_wrong_command_line_is_one_message(
    line: list[str], message: str, api: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line) == 2
    listed = capsys.readouterr()
    assert listed.out == ""
    assert listed.err.startswith("error: ")
    assert message in listed.err
    assert "Traceback" not in listed.err
    assert api.calls == []


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ConfigError("recipe: a.b: no such key"), 2, "error: recipe: a.b: no such key\n"),
        (TableError("t.csv: one", "two"), 2, "error: t.csv: one\ntwo\n"),
        (TableError("t.csv: column 'a\nerror: b\x1b[2J'"), 2, "error: t.csv: column 'a\\nerror: b\\u001b[2J'\n"),
        (TrainingError("the loss is NaN"), 1, "error: the loss is NaN\n"),
        (TrainingInterrupted("saved; go on with --resume"), 130, "interrupted: saved; go on with --resume\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (
            FileNotFoundError(2, "No such file or directory", "a b.csv"),
            2,
            "error: a b.csv: No such file or directory\n",
        ),
        (OSError(28, "No space left on device"), 2, "error: No space left on device\n"),
        (MemoryError(), 1, "error: out of memory; lower training.batch_size, or free some memory\n"),
        (
            ZeroDivisionError("division\nby zero"),
            1,
            "error: ZeroDivisionError: division by zero\nthis is a bug in polysense; run again with --debug\n",
        ),
    ],
)
def test_an_error_is_one_message_and_an_exit_code(
    error: BaseException, code: int, message: str, api: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    api.error = error
    assert main(["train", "t.csv"]) == code
    assert capsys.readouterr().err == message


@pytest.mark.parametrize(
    "line", [["--debug", "train", "t.csv"], ["train", "--debug", "t.csv"], ["train", "t.csv", "--debug"]]
)
def test_debug_shows_the_traceback_wherever_it_stands(
    line: list[str], api: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    api.error = ConfigError("wrong")
    assert main(line) == 2
    listed = capsys.readouterr().err
    assert listed.startswith("Traceback")
    assert listed.endswith("error: wrong\n")


def test_after_two_dashes_nothing_is_an_option(api: FakeApi) -> None:
    main(["train", "--", "t.csv", "-q"])
    assert api.calls[0][2]["overrides"] == ["-q"]
    assert api.calls[0][2]["progress"] is True


@pytest.mark.parametrize(
    ("flags", "level", "progress"),
    [
        ([], logging.INFO, True),
        (["-q"], logging.WARNING, False),
        (["-v"], logging.DEBUG, True),
        (["--debug"], logging.DEBUG, True),
    ],
)
def test_verbosity(flags: list[str], level: int, progress: bool, api: FakeApi) -> None:
    main(["train", "t.csv", *flags])
    assert logging.getLogger("polysense").level == level
    assert api.calls[0][2]["progress"] is progress


def test_the_log_goes_to_stderr_one_line_per_message(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # a second run must not log everything twice
        main(["train", "t.csv"])
    capsys.readouterr()
    logging.getLogger("polysense.data").warning("column [a] " + "x" * 200)
    listed = capsys.readouterr()
    assert listed.out == ""
    # The handler writes to the stderr of when it was made, which pytest replaces only between tests.
    assert listed.err == "WARNING: column [a] " + "x" * 200 + "\n"


def run(*line: str, code: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own; `code` runs before it."""
    program = f"{code}\nimport sys\nfrom polysense.cli.app import main\nsys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", program, *line], capture_output=True, text=True, timeout=120, **options
    )


def test_a_closed_pipe_is_quiet(tmp_path: Path) -> None:
    # `polysense --help | true`: the reader is gone before anything is written.
    read, write = os.pipe()
    os.close(read)
    program = "import sys; from polysense.cli.app import main; sys.exit(main(['train', '--help']))"
    with os.fdopen(write, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=pipe, stderr=subprocess.PIPE, timeout=120, check=False
        )
    assert done.returncode == 1
    assert done.stderr == b""


def test_ctrl_c_ends_with_130(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    code = """
import os, signal, sys, types, polysense
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
api = types.ModuleType("polysense.api")
api.fit = lambda *a, **k: os.kill(os.getpid(), signal.SIGINT)
sys.modules["polysense.api"] = polysense.api = api
"""
    done = run("train", "t.csv", code=code)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_name_that_is_no_text_can_be_told(tmp_path: Path) -> None:
    code = """
import sys, types, polysense
from polysense.errors import TableError
api = types.ModuleType("polysense.api")
def fit(source, **options): raise TableError(f"{source}: can't be read \\u2014 sorry")
api.fit = fit
sys.modules["polysense.api"] = polysense.api = api
"""
    environ = {**os.environ, "PYTHONIOENCODING": "ascii"}
    name = os.fsdecode(b"caf\xe9.csv")
    done = run("train", name, code=code, env=environ)
    assert done.returncode == 2
    assert done.stderr == "error: caf\\udce9.csv: can't be read \\u2014 sorry\n"


def test_main_reads_the_command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["polysense", "nonsense"])
    assert main() == 2
    assert "nonsense" in capsys.readouterr().err
    assert isinstance(sys.modules["polysense.cli.app"], ModuleType)


def test_python_m_ends_with_the_same_code() -> None:
    line = [sys.executable, "-m", "polysense", "trian"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "No such command 'trian'" in done.stderr


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (["train", "t.csv", "--target", "label", "-o", ""], "-o: found an empty text"),
        (["train", "t.csv", "--target", "label", "--output="], "--output: found an empty text"),
        (["predict", "", "t.csv"], "the command line: found an empty text"),
        (["compare", "t.csv", "-t", "label", "--over", "a=b,c", "--", ""], "the command line: found an empty text"),
    ],
)
def test_an_empty_argument_is_no_current_folder(
    line: list[str], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("a,label\n1,x\n")
    assert main(line) == 2
    assert named in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
