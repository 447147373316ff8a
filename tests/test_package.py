"""What `import polysense` and `polysense --help` promise: few names, and nothing heavy before it is needed."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import json
import re
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import polysense
from polysense import errors

ROOT = Path(__file__).parents[1]

# Each costs a command's start-up or a training run's memory: torch 2 s and 500 MiB, torchmetrics 7 s and 300 MiB.
HEAVY = ("torch", "torchvision", "torchmetrics", "transformers", "timm", "sklearn", "scipy", "pandas", "datasets")


def run(program: str, *arguments: str) -> tuple[str, float]:
    """A Python program's output, and the CPU seconds it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_the_public_names_are_few_sorted_and_real() -> None:
    assert len(polysense.__all__) <= 30
    assert polysense.__all__ == sorted(polysense.__all__)
    assert len(set(polysense.__all__)) == len(polysense.__all__)
    for name in polysense.__all__:
        value = getattr(polysense, name)
        assert name == "__version__" or inspect.getdoc(value), f"polysense.{name} has no docstring"


def test_dir_shows_the_public_names() -> None:
    assert set(polysense.__all__) <= set(dir(polysense))


def test_names_can_be_imported_by_star() -> None:
    listed, _ = run("from polysense import *; print(dir())")
    assert "read_table" in listed
    assert "fit" in listed


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'fti'"):
        polysense.fti  # noqa: B018


def test_the_version_is_the_packages() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert polysense.__version__ == declared == importlib.metadata.version("polysense")


def test_the_package_is_typed() -> None:
    assert (Path(polysense.__file__).parent / "py.typed").is_file()


def test_every_error_is_exported_drawn_and_catchable() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert sorted(one.__name__ for one in classes) == errors.__all__ == sorted(errors.__all__)
    drawing = {
        match[2]: len(match[1]) // 4
        for match in re.finditer(r"^    ([│├└─ ]*)(\w+Error|\w+Interrupted) {2}", errors.__doc__ or "", re.MULTILINE)
    }
    assert {one.__name__: len(one.__mro__) for one in classes}.keys() == drawing.keys()
    for one in classes:
        ancestors = [base for base in one.__mro__[1:] if base in classes]
        assert drawing[one.__name__] == len(ancestors), f"{one.__name__} hangs at the wrong place in the drawing"
        assert issubclass(one, errors.PolysenseError)
        assert inspect.getdoc(one)


def test_user_errors_exit_with_2_and_are_value_errors() -> None:
    for name in errors.__all__:
        one = getattr(errors, name)
        if issubclass(one, errors.UserError):
            assert (one.exit_code, one.http_status // 100) == (2, 4)
            assert issubclass(one, ValueError)


def test_importing_polysense_loads_nothing_heavy() -> None:
    listed, _ = run("import json, sys, polysense; print(json.dumps(sorted(sys.modules)))")
    assert set(json.loads(listed)).isdisjoint(HEAVY)


@pytest.mark.parametrize("line", [["--help"], ["train", "--help"], ["doctor"], ["--version"]])
def test_the_command_line_loads_nothing_heavy(line: list[str]) -> None:
    # What makes it slow is what it loads; the seconds themselves are in benchmarks/startup.py.
    program = """
import contextlib, io, json, sys
from polysense.cli.app import main
with contextlib.redirect_stdout(io.StringIO()):
    code = main(sys.argv[1:])
print(json.dumps([code, sorted(sys.modules)]))
"""
    listed, _ = run(program, *line)
    code, modules = json.loads(listed)
    assert code == 0
    assert set(modules).isdisjoint({*HEAVY, "polars", "pyarrow", "numpy"})


def test_the_console_script_is_there() -> None:
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="polysense")
    module, _, function = script.value.partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_training_and_prediction_load_no_more_than_they_need() -> None:
    # Peak memory of a whole run is compared with a hand-written loop's: one careless import costs 100 MiB and more.
    listed, _ = run("import json, sys, polysense.api; print(json.dumps(sorted(sys.modules)))")
    assert set(json.loads(listed)).isdisjoint({*HEAVY, "matplotlib", "tensorboard", "av"} - {"torch"})
