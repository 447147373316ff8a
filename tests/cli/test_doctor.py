from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.cli.app import main
from polysense.cli.doctor import Finding, Level, Probe, _release, _satisfies, _torch_cuda, examine

HEALTHY = {"polysense": "0.1.0", "torch": "2.15.0", "torchvision": "0.30.0", "transformers": "5.23.0", "av": "18.1.0"}
REQUIREMENTS = {
    "polysense": ["torch>=2.11", "transformers<6,>=5.17", "av>=16", 'pytest>=9; extra == "dev"'],
    "torchvision": ["numpy", "torch (==2.15.0)", "pillow!=8.3.*,>=5.3.0"],
}
TESTED = {"torch": ("2.11", "2.15.0"), "av": ("16", "19.0.2"), "pandas": ("2.2", "3.1.1")}
FILES = {"/proc/meminfo": "MemTotal: 16000000 kB\nMemAvailable:    8000000 kB\n"}


def look(
    versions: dict[str, str] | None = None,
    *,
    without: str = "",
    files: dict[str, str] | None = None,
    **answers: Any,
) -> dict[str, Finding]:
    """What is found in a healthy environment with a GPU and these changes."""
    installed = {name: found for name, found in (HEALTHY | (versions or {})).items() if name != without}
    contents = FILES | (files or {})
    known: dict[str, Any] = {
        "version": installed.get,
        "requirements": lambda name: REQUIREMENTS.get(name, []),
        "tested": lambda: TESTED,
        "torch_cuda": lambda: "12.8",
        "has_gpu": lambda: True,
        "has_library": lambda name: True,
        "read": contents.get,
        "is_writable": lambda folder: True,
        "free_disk": lambda folder: 10 * 2**30,
        "num_cpus": lambda: 4,
        "environ": {},
    }
    return {finding.name: finding for finding in examine(Probe(**(known | answers))).findings}


def test_a_healthy_environment_has_no_finding() -> None:
    assert look() == {}


@pytest.mark.parametrize(
    ("name", "level", "change"),
    [
        ("torchaudio", Level.BROKEN, {"versions": {"torchaudio": "2.11.0"}}),
        ("torchaudio", Level.WARNING, {"versions": {"torchaudio": "2.15.1"}}),
        ("torchvision", Level.BROKEN, {"versions": {"torch": "2.14.1"}}),
        ("torch", Level.BROKEN, {"versions": {"torch": "2.10.0+cu128"}}),
        ("torch", Level.BROKEN, {"without": "torch"}),
        ("cuda", Level.WARNING, {"torch_cuda": lambda: None}),
        ("cuda", Level.NOTE, {"has_gpu": lambda: False}),
        ("transformers", Level.BROKEN, {"versions": {"transformers": "4.57.1"}}),
        ("transformers", Level.BROKEN, {"versions": {"transformers": "6.0.0"}}),
        ("av", Level.BROKEN, {"without": "av"}),
        ("av", Level.NOTE, {"versions": {"av": "19.0.3"}}),
        ("pandas", Level.NOTE, {"versions": {"pandas": "4.0"}}),
        ("pandas", Level.WARNING, {"versions": {"pandas": "2.1.4"}}),
        ("torchcodec", Level.WARNING, {"versions": {"torchcodec": "0.9"}, "has_library": lambda name: False}),
        ("albumentations", Level.WARNING, {"versions": {"albumentations": "2.0.8", "albumentationsx": "2.1"}}),
        ("lightning", Level.BROKEN, {"versions": {"lightning": "2.6.2"}}),
        ("pytorch-lightning", Level.BROKEN, {"versions": {"pytorch-lightning": "2.6.3"}}),
        ("composer", Level.WARNING, {"versions": {"composer": "0.30"}}),
        ("litdata", Level.WARNING, {"versions": {"litdata": "0.3", "s3fs": "2025.1"}}),
        ("threads", Level.WARNING, {"environ": {"OMP_NUM_THREADS": "16"}}),
        ("threads", Level.WARNING, {"files": {"/sys/fs/cgroup/cpu.max": "200000 100000\n"}}),
        ("memory", Level.WARNING, {"files": {"/proc/meminfo": "MemAvailable: 900000 kB"}}),
        (
            "memory",
            Level.WARNING,
            {"files": {"/sys/fs/cgroup/memory.max": "2000000000", "/sys/fs/cgroup/memory.current": "1900000000"}},
        ),
        ("disk", Level.WARNING, {"free_disk": lambda folder: 2**30 if str(folder) == "/dev/shm" else 2**29}),
        ("shared memory", Level.WARNING, {"free_disk": lambda folder: (2**26 if str(folder) == "/dev/shm" else 2**40)}),
        ("hub cache", Level.WARNING, {"is_writable": lambda folder: "huggingface" not in str(folder)}),
        ("hub cache", Level.WARNING, {"is_writable": lambda path: str(path) != "/x", "environ": {"HF_HOME": "/x"}}),
        ("folder", Level.WARNING, {"is_writable": lambda folder: folder != Path.cwd()}),
        ("driver", Level.WARNING, {"torch_cuda": lambda: "13.2", "files": {
            "/proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat"}}),
        ("python", Level.BROKEN, {"python": (3, 10, 4)}),
    ],
)  # fmt: skip
def test_each_trap_is_found(name: str, level: Level, change: dict[str, Any]) -> None:
    found = look(change.pop("versions", None), **change)
    assert name in found
    assert found[name].level is level
    assert found[name].message
    assert found[name].remedy


@pytest.mark.parametrize(
    "change",
    [
        {"versions": {"torchcodec": "0.9"}},
        {"versions": {"pandas": "2.2"}},
        {"versions": {"av": "19.0.2"}},
        {"versions": {"albumentations": "2.0.8"}},
        {"versions": {"lightning": "2.6.4"}},
        {"versions": {"litdata": "0.3"}},
        {"environ": {"OMP_NUM_THREADS": "4,2"}},
        {"environ": {"OMP_NUM_THREADS": "many"}},
        {"files": {"/sys/fs/cgroup/cpu.max": "max 100000\n", "/sys/fs/cgroup/memory.max": "max"}},
        {"environ": {"OMP_NUM_THREADS": "2"}, "files": {"/sys/fs/cgroup/cpu.max": "200000 100000\n"}},
        {"torch_cuda": lambda: None, "has_gpu": lambda: False},
        {"torch_cuda": lambda: "13.2", "files": {"/proc/driver/nvidia/version": "Kernel Module for x86_64  580.65.06"}},
        {"files": {"/proc/meminfo": ""}},
        {"free_disk": lambda folder: None},
    ],
)
def test_no_alarm_without_a_trap(change: dict[str, Any]) -> None:
    assert look(change.pop("versions", None), **change) == {}


def test_the_cpu_only_build_of_2_13_is_found() -> None:
    versions = {"torch": "2.13.0", "torchvision": "0.28.0"}
    requirements = {"torchvision": ["torch>=2.13"]}
    found = look(versions, requirements=lambda name: requirements.get(name, []), torch_cuda=lambda: None)
    assert found["torch"].level is Level.BROKEN
    assert "torch" not in look(versions, requirements=lambda name: requirements.get(name, []))


def test_the_worst_comes_first_and_decides() -> None:
    versions = {**HEALTHY, "torchaudio": "2.11.0", "composer": "1"}
    probe = Probe(version=versions.get, requirements=lambda name: [], has_gpu=lambda: False, torch_cuda=lambda: "12.8")
    diagnosis = examine(probe)
    levels = [finding.level for finding in diagnosis.findings]
    assert levels == sorted(levels, key=list(Level).index)
    assert not diagnosis.ok
    assert "polysense can't work here" in diagnosis.text().splitlines()[-1]
    assert diagnosis.versions["torchaudio"] == "2.11.0"


def test_exit_code_and_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def sick(name: str) -> str | None:
        return {**HEALTHY, "torchaudio": "2.11.0"}.get(name)

    monkeypatch.setattr("polysense.cli.doctor.Probe", lambda: Probe(version=sick))
    assert main(["doctor", "--json"]) == 2
    listed = json.loads(capsys.readouterr().out)
    assert listed["ok"] is False
    assert {"level", "name", "message", "remedy"} == set(listed["findings"][0])
    assert main(["doctor"]) == 2
    assert "broken: torchaudio 2.11.0" in capsys.readouterr().out


def test_this_environment_works(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    assert "torch" in capsys.readouterr().out


def test_versions_stand_beside_the_tested_range() -> None:
    installed = {"polysense": "0.1.0", "torch": "2.12.1", "pandas": "2.2.1", "soxr": "1.1.0"}
    probe = Probe(version=installed.get, tested=lambda: TESTED)
    lines = [line.split() for line in examine(probe).text().splitlines()]
    assert ["torch", "2.12.1", "tested", "2.11", "to", "2.15.0"] in lines
    assert ["pandas", "2.2.1", "tested", "2.2", "to", "3.1.1"] in lines
    assert ["soxr", "1.1.0"] in lines, "of a package without a tested range only the version is known"


def test_torchs_cuda_is_read_without_importing_it() -> None:
    import torch

    assert _torch_cuda() == (torch.version.cuda or torch.version.hip)


VERSIONS = st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))


@given(VERSIONS, VERSIONS)
def test_versions_compare_as_numbers(ours: tuple[int, ...], theirs: tuple[int, ...]) -> None:
    left, right = (".".join(map(str, numbers)) for numbers in (ours, theirs))
    assert _satisfies(left, f">={right}") is (ours >= theirs)
    assert _satisfies(left, f"<{right}") is (ours < theirs)
    assert _satisfies(left + "+cu128", f"=={right}") is (ours == theirs)


@pytest.mark.parametrize(
    ("version", "specifiers", "met"),
    [
        ("2.15.0+cu132", ">=2.11", True),
        ("2.9", ">=2.11", False),
        ("2.11", ">=2.11.0", True),
        ("8.3.1", "!=8.3.*,>=5.3.0", False),
        ("8.4", "!=8.3.*,>=5.3.0", True),
        ("5.17", ">=5.17,<6", True),
        ("6.0.0", ">=5.17,<6", False),
        ("1.0", "", True),
        ("1.0", "~=0.9", True),
    ],
)
def test_specifiers(version: str, specifiers: str, met: bool) -> None:
    assert _satisfies(version, specifiers) is met


def test_a_release_is_its_numbers() -> None:
    assert _release("2.15.0+cu132") == (2, 15, 0)
    assert _release("3.0rc1") == (3, 0)
    assert _release("unknown") == ()
