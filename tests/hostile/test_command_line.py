"""Commands with arguments that nobody means: one clear message, a documented exit code, no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from polysense.cli.app import main

COMMANDS = (
    "new", "check", "train", "evaluate", "predict", "impute", "compare", "embed", "zeroshot", "fewshot", "index",
    "search", "map",
)  # fmt: skip
ODD = ("", "nosuch", "\x1b[2J\n\u202e", "nosuch\0x", "a" * 5000, "-", "/dev/null", "/", "--nosuch", "a=b=c")
NEEDED = {
    "impute": ["-o", "out.csv"], "embed": ["-o", "out.npz"], "index": ["-o", "index"], "map": ["-o", "map.html"],
    "fewshot": ["--target", "label"], "zeroshot": ["-c", "a", "--classes", "x,y"], "compare": ["--over", "a=b"],
}  # fmt: skip
TABLES = {
    "empty": b"",
    "header": b"a,b,label\n",
    "one": b"a,b,label\n1,x,y\n",
    "one_class": b"a,b,label\n" + b"1,x,y\n2,z,y\n" * 20,
    "missing": b"a,b,label\n" + b",,y\n,,n\n" * 20,
    "constant": b"a,b,label\n" + b"1,x,y\n1,x,n\n" * 20,
    "no_target": b"a,b,label\n" + b"1,x,\n2,z,\n" * 20,
    "twice": b"a,a,label\n" + b"1,x,y\n2,z,n\n" * 20,
    "nameless": b",,label\n" + b"1,x,y\n2,z,n\n" * 20,
    "binary": bytes(range(256)) * 9,
}


def one_message(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command that can't work says."""
    code = main(arguments)
    listed = capsys.readouterr()
    assert code in (0, 2), (arguments, listed.err)
    assert "bug in polysense" not in listed.err
    assert "Traceback" not in listed.err
    assert not {"\x1b", "\u202e", "\x07"} & set(listed.err + listed.out)
    assert code == 0 or listed.err or listed.out
    return listed.err


@pytest.mark.parametrize("command", COMMANDS)
def test_odd_arguments(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_bytes(b"a,b,label\n" + b"1,x,y\n2,z,n\n" * 20)
    for odd in ODD:
        one_message([command, odd], capsys)
        one_message([command, odd, "t.csv", *NEEDED.get(command, [])], capsys)
        one_message([command, "t.csv", odd, *NEEDED.get(command, [])], capsys) if command != "train" else None


@pytest.mark.parametrize("name", TABLES)
def test_odd_tables(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_bytes(TABLES[name])
    for arguments in (
        [], ["--target", "label"], ["--target", "nosuch"], ["--target", ""], ["-t", "label", "-t", "label"],
        ["-t", "label", "-c", "label=number"], ["-t", "label", "-c", "nosuch=text"], ["-t", "label", "-c", "a=nosuch"],
        ["-t", "a", "-c", "a=text"], ["--task", "retrieval"], ["--task", "nosuch"],
    ):  # fmt: skip
        one_message(["check", "t.csv", *arguments], capsys)


@pytest.mark.parametrize(
    "override",
    [
        "model.width=-3", "model.width=1000000000000", "model.fusion={type: gated, dropout: 2}", "model.encoders=3",
        "training.seed=-999999999999999999999999999999", "training.epochs=-1", "training.epochs=.nan",
        "training.optimizer.lr=.inf", "training.device=tpu", "data.split.test=2", "data.columns=null", "model=null",
        "model.encoders.b={type: word_vectors, path: /etc/passwd}", "model.encoders.b={type: pretrained, path: /etc}",
        "evaluation.bootstrap=99999999999", "init_from=nosuch", "\x1b[2J=1", "=", "",
    ],
)  # fmt: skip
def test_odd_overrides(
    override: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_bytes(b"a,b,label\n" + b"1,x,y\n2,z,n\n" * 20)
    assert one_message(["train", "t.csv", "--target", "label", "-o", "run", override], capsys).count("error: ") >= 1


def _shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program = f"{sys.executable} -m polysense"
    return subprocess.run(
        ["bash", "-c", line.replace("polysense", program)], cwd=folder, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize(
    ("line", "code", "error"),
    [
        ("polysense --version | head -1; exit ${PIPESTATUS[0]}", (0, 1), ""),
        ("polysense --version >/dev/full", (2,), "error: No space left on device\n"),
        ("polysense --version >&-", (0,), ""),
        ("polysense check nosuch.csv 2>&-", (2,), ""),
        ("polysense --version <&- >&- 2>&-", (0,), ""),
        ("COLUMNS=1 TERM=dumb NO_COLOR=1 polysense train --help", (0,), ""),
        ("COLUMNS=x TERM=nosuch polysense --version", (0,), ""),
    ],
)
def test_odd_shells(line: str, code: tuple[int, ...], error: str, tmp_path: Path) -> None:
    done = _shell(line, tmp_path)
    assert (done.returncode in code, done.stderr) == (True, error)


@pytest.mark.parametrize("seconds", [0.4, 1.0, 2.5])
def test_ctrl_c_is_one_line_at_any_time(seconds: float, tmp_path: Path) -> None:
    # No column gives the label away: training would end in an error before it is interrupted.
    rows = "".join(f"{i % 7},{'xz'[i % 3 > 0]},{'yn'[i % 5 > 1]}\n" for i in range(6000))
    (tmp_path / "t.csv").write_text("a,b,label\n" + rows, encoding="utf-8")
    command = [sys.executable, "-m", "polysense", "-q", "train", "t.csv", "-t", "label", "-o", "run"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    # A shell calls both 130.
    assert process.returncode in (130, -signal.SIGINT), error
    assert "Traceback" not in error
    assert [line.split(":")[0] for line in error.splitlines() if not line.startswith("WARNING")] == ["interrupted"]
