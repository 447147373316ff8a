from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from polysense.cli import console


@dataclass(frozen=True)
class Point:
    x: float
    label: str


def test_everything_has_a_json_form(capsys: pytest.CaptureFixture[str]) -> None:
    console.write(
        {
            "path": Path("a/b"),
            "kind": "text",
            "array": np.array([[1, 2]]),
            "scalar": np.float32(0.5),
            "tensor": torch.tensor([1.0, float("inf")]),
            "point": Point(float("nan"), "é"),
            "set": {1},
            3: (None, True),
        }
    )
    listed = capsys.readouterr().out
    assert json.loads(listed) == {
        "path": "a/b",
        "kind": "text",
        "array": [[1, 2]],
        "scalar": 0.5,
        "tensor": [1.0, None],
        "point": {"x": None, "label": "é"},
        "set": [1],
        "3": [None, True],
    }
    assert "é" in listed


def test_reserved_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with console.reserved_stdout():
        print("aside")
    with console.reserved_stdout(reserve=False):
        print("result")
    listed = capsys.readouterr()
    assert (listed.out, listed.err) == ("result\n", "aside\n")


def test_text_ends_with_one_newline(capsys: pytest.CaptureFixture[str]) -> None:
    console.write("a")
    console.write("b\n")
    console.write_error("c\n\n")
    listed = capsys.readouterr()
    assert (listed.out, listed.err) == ("a\nb\n", "c\n")


WARNS = """
import sys, warnings
from polysense.cli import app, console

def command(**options):
    import subprocess
    warnings.warn("renamed", FutureWarning)
    program = "import os, warnings; warnings.warn('below'); print(os.environ.get('TRANSFORMERS_VERBOSITY'))"
    subprocess.run([sys.executable, "-c", program], check=True)

with console.silenced_libraries(sys.argv[1:]):
    command()
warnings.warn("afterwards")
"""


@pytest.mark.parametrize(
    ("line", "environment", "warned"),
    [
        ([], {}, False),
        (["-q"], {}, False),
        (["-v"], {}, True),
        (["--debug"], {}, True),
        ([], {"PYTHONWARNINGS": "default"}, True),
    ],
)
def test_third_parties_are_silent_unless_asked(line: list[str], environment: dict[str, str], warned: bool) -> None:
    clean = {
        name: value for name, value in os.environ.items() if name not in {"PYTHONWARNINGS", "TRANSFORMERS_VERBOSITY"}
    }
    done = subprocess.run(
        [sys.executable, "-c", WARNS, *line], env=clean | environment, capture_output=True, text=True, check=True
    )
    assert ("renamed" in done.stderr, "below" in done.stderr) == (warned, warned)
    assert "afterwards" in done.stderr, "whoever calls the command line from Python keeps their warnings"
    expected = "None" if {"-v", "--debug"} & {*line} else "" if "-q" in line else "error"
    assert done.stdout.strip() == expected, "with -q nobody but polysense writes, not even what it starts"


PRINTS = """
import ctypes, logging, os, sys
from polysense.cli import console

with console.silenced_libraries(sys.argv[1:]):
    console.configure_logging(-1 if "-q" in sys.argv else 0)
    print("third party")
    print("third party", file=sys.stderr)
    logging.getLogger("third").warning("party")
    os.write(1, b"native\\n")
    os.write(2, b"native\\n")
    logging.getLogger("polysense.data").warning("ours")
    console.write_error("error: ours")
    console.write({"ours": "\u202e\x1b"})
print("afterwards")
"""


def test_with_q_nobody_else_writes() -> None:
    done = subprocess.run([sys.executable, "-c", PRINTS, "-q"], capture_output=True, text=True, check=True)
    assert done.stdout == '{\n  "ours": "\\u202e\\u001b"\n}\nafterwards\n'
    assert done.stderr == "WARNING: ours\nerror: ours\n"
    aloud = subprocess.run([sys.executable, "-c", PRINTS], capture_output=True, text=True, check=True)
    assert (aloud.stdout.count("third party"), aloud.stdout.count("native")) == (1, 1)
    assert (aloud.stderr.count("third party"), aloud.stderr.count("native")) == (1, 1)


def test_whatever_is_written_drives_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console.write("a\x1b[2J\nb\x07\x9b\u202e")
    console.write_error("one\rtwo\nthree", "four")
    listed = capsys.readouterr()
    assert listed.out == "a\\u001b[2J\nb\\u0007\\u009b\\u202e\n"
    assert listed.err == "one\\rtwo\\nthree\nfour\n"


def test_a_json_document_that_is_shown_has_the_same_data(capsys: pytest.CaptureFixture[str]) -> None:
    data = {"name\x1b[31m\u202e": ["\x85\x9b", "\u2028", "\U000e0041", "\u200b\u200d", "a\n\t\\u202e"]}
    console.write(data)
    shown = capsys.readouterr().out
    assert json.loads(shown) == data
    assert shown.isprintable() or set(filter(lambda c: not c.isprintable(), shown)) == {"\n"}
