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
    assert done.stdout.strip() == ("None" if {"-v", "--debug"} & {*line} else "error")
