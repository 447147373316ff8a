"""What `polysense doctor` looks for: combinations of packages that are known to break, and machines too small.

Nothing examined is imported: a broken torch can't be asked what is wrong with it. Versions come from the packages'
metadata, CUDA's from the text of torch's own version.py, and the machine's state from the file system. All of it
passes through `Probe`, so each finding can be tested without breaking an environment.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from polysense.core import machine
from polysense.escaping import joined

__all__ = ["Diagnosis", "Finding", "Level", "Probe", "examine"]

# What the table of versions shows, in this order, where installed.
_LISTED = (
    "polysense", "torch", "torchvision", "numpy", "pillow", "av", "soundfile", "soxr", "tokenizers", "transformers",
    "timm", "safetensors", "polars", "pyarrow", "pandas", "datasets", "pydantic", "scikit-learn", "peft", "lancedb",
    "torchaudio", "torchcodec",
)  # fmt: skip
_OLD = "it forces old versions of transformers, numpy or torch"
# Packages that can't be where the others are, why, and what to do.
_CLASHES = (
    (("albumentations", "albumentationsx"), "they overwrite each other's files",
     "uninstall both, then install the one that you want; polysense uses neither"),
    (("mosaicml-streaming",), _OLD, "give it an environment of its own"),
    (("composer",), _OLD, "give it an environment of its own"),
    (("litdata", "s3fs"), "they need different versions of botocore", "give litdata an environment of its own"),
)  # fmt: skip
_GIB = 2**30


class Level(StrEnum):
    """How bad a finding is."""

    BROKEN = "broken"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """A problem, and what to do about it."""

    level: Level
    name: str
    message: str
    remedy: str


_broken, _warning, _note = (partial(Finding, level) for level in Level)


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """All findings beside the versions."""

    versions: dict[str, str]
    tested: dict[str, tuple[str, str]]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found that breaks training or prediction."""
        return all(finding.level is not Level.BROKEN for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return {"ok": self.ok, "versions": self.versions, "tested": self.tested, "findings": list(self.findings)}

    def text(self) -> str:
        """For people: versions beside the tested range, findings, and a last line that says whether it will work."""
        width = max(map(len, self.versions), default=0)
        length = max(map(len, self.versions.values()), default=0)
        lines = []
        for name, version in self.versions.items():
            tested = f"  tested {' to '.join(self.tested[name])}" if name in self.tested else ""
            lines.append(f"{name:{width}}  {version:{length}}{tested}".rstrip())
        for finding in self.findings:
            lines += ["", f"{finding.level}: {finding.message}", f"  -> {finding.remedy}"]
        last = "no problem found" if not self.findings else "nothing here breaks polysense"
        return joined([*lines, "", last if self.ok else "polysense can't work here before this is mended"])


def _installed_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _installed_requirements(name: str) -> list[str]:
    return (importlib.metadata.requires(name) or []) if _installed_version(name) else []


def _torch_cuda() -> str | None:
    """The CUDA (or ROCm) version that torch was built for, from the text of its version.py."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    text = _read(str(Path(spec.origin).with_name("version.py"))) or ""
    match = re.search(r"^(?:cuda|hip)\b[^=\n]*=\s*['\"]([^'\"]+)['\"]", text, re.MULTILINE)
    return match.group(1) if match else None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _tested_versions() -> dict[str, tuple[str, str]]:
    """The lowest and the highest version of each package that the test suite passed with."""
    text = Path(__file__).with_name("tested_versions.json").read_text(encoding="utf-8")
    return {name: (lowest, highest) for name, (lowest, highest) in json.loads(text).items()}


def _has_gpu() -> bool:
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/kfd").exists() or Path("/dev/dxg").exists()


def _has_library(name: str) -> bool:
    import ctypes.util

    return ctypes.util.find_library(name) is not None


def _is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder, or the folder itself where it is not there yet."""
    with contextlib.suppress(OSError):
        while not folder.exists():
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder):
            return True
    return False


def _free_disk(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Every question that the doctor asks; a test answers some of them itself.

    Attributes:
        version: A package's version, None if it is not installed.
        requirements: A package's `Requires-Dist` lines.
        tested: The lowest and the highest version of each package that the test suite passed with.
        torch_cuda: The CUDA version that torch was built for, None for a CPU-only build.
        has_gpu: Whether the machine has a GPU that torch could use.
        has_library: Whether a shared library of that name can be loaded.
        read: A file's text, None if it can't be read.
        is_writable: Whether files can be made in a folder.
        free_disk: Bytes free at a folder.
        num_cpus: CPUs that this process may run on.
        environ: Environment variables.
        python: Python's version.
    """

    version: Callable[[str], str | None] = _installed_version
    requirements: Callable[[str], list[str]] = _installed_requirements
    tested: Callable[[], dict[str, tuple[str, str]]] = _tested_versions
    torch_cuda: Callable[[], str | None] = _torch_cuda
    has_gpu: Callable[[], bool] = _has_gpu
    has_library: Callable[[str], bool] = _has_library
    read: Callable[[str], str | None] = _read
    is_writable: Callable[[Path], bool] = _is_writable
    free_disk: Callable[[Path], int | None] = _free_disk
    num_cpus: Callable[[], int] = machine.num_cpus
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    python: tuple[int, int, int] = sys.version_info[:3]


def examine(probe: Probe | None = None) -> Diagnosis:
    """Looks for everything that is known to break, worst first."""
    probe = probe or Probe()
    versions = {"python": ".".join(map(str, probe.python))}
    versions |= {name: result for name in _LISTED if (result := probe.version(name)) is not None}
    checks = (_requirements, _tested_range, _torch_builds, _torchaudio, _disruptive_packages, _machine, _folders)
    findings = [finding for check in checks for finding in check(probe)]
    findings.sort(key=lambda one: list(Level).index(one.level))
    tested = {name: bounds for name, bounds in probe.tested().items() if name in versions}
    return Diagnosis(versions=versions, tested=tested, findings=tuple(findings))


def _release(version: str) -> tuple[int, ...]:
    """The numbers of a version, without what marks builds and pre-releases: 2.15.0+cu132 is (2, 15, 0)."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, match.group().split("."))) if match else ()


def _satisfies(version: str, specifiers: str) -> bool:
    """Whether a version fits `>=1.2,<2`; a specifier of another kind is taken to be met."""
    ours = _release(version)
    for operator, bound in re.findall(r"(>=|<=|==|!=|<|>)\s*([\w.*+!-]+)", specifiers):
        theirs = _release(bound)
        length = len(theirs) if bound.endswith(".*") else max(len(ours), len(theirs))
        left, right = ((*numbers, *[0] * length)[:length] for numbers in (ours, theirs))
        met = {
            ">=": left >= right, "<=": left <= right, "==": left == right,
            "!=": left != right, "<": left < right, ">": left > right,
        }  # fmt: skip
        if not met[operator]:
            return False
    return True


def _required(probe: Probe, package: str) -> Iterator[tuple[str, str]]:
    """The (name, specifiers) that a package needs always; what hangs on an extra or a platform is left out."""
    for line in probe.requirements(package):
        requirement, _, marker = line.partition(";")
        match = re.match(r"\s*([\w.-]+)(?:\[[^\]]*\])?\s*\(?([^)]*)\)?", requirement)
        if match and not marker.strip():
            yield match.group(1), match.group(2).strip()


def _requirements(probe: Probe) -> Iterator[Finding]:
    if probe.python < (3, 11):
        yield _broken("python", f"Python is {'.'.join(map(str, probe.python))}", "install Python 3.11 or later")
    for name, specifiers in _required(probe, "polysense"):
        result = probe.version(name)
        if result is None:
            yield _broken(name, f"{name} is not installed", f"pip install '{name}{specifiers}'")
        elif not _satisfies(result, specifiers):
            yield _broken(
                name,
                f"{name} is {result}, polysense needs {specifiers}",
                f"pip install '{name}{specifiers}'; if another package holds it back, give polysense an environment "
                "of its own",
            )


def _tested_range(probe: Probe) -> Iterator[Finding]:
    """Versions that the test suite has not seen. Too old a core package is broken, which `_requirements` says."""
    core = dict(_required(probe, "polysense"))
    for name, (lowest, highest) in probe.tested().items():
        version = probe.version(name)
        if version is None:
            continue
        if not _satisfies(version, f"<={highest}"):
            yield _note(
                name,
                f"{name} is {version}, newer than the newest that polysense was tested with ({highest})",
                f"nothing to do unless something breaks; then pip install '{name}=={highest}'",
            )
        elif name not in core and not _satisfies(version, f">={lowest}"):
            yield _warning(
                name,
                f"{name} is {version}, older than the oldest that polysense was tested with ({lowest})",
                f"pip install --upgrade '{name}>={lowest}'",
            )


def _torch_builds(probe: Probe) -> Iterator[Finding]:
    torch, torchvision = probe.version("torch"), probe.version("torchvision")
    if torch is None:
        return
    cuda = probe.torch_cuda()
    if torchvision is not None:
        needed = dict(_required(probe, "torchvision")).get("torch", "")
        if not _satisfies(torch, needed):
            yield _broken(
                "torchvision",
                f"torchvision {torchvision} was built for torch {needed}, and torch is {torch}: it can't be imported",
                "pip install --upgrade torch torchvision, together",
            )
        elif _release(torch) == (2, 13, 0) and cuda is None:
            yield _broken(
                "torch",
                "torch is a CPU-only build of 2.13.0, with which torchvision can't be imported",
                "pip install --upgrade torch torchvision; don't pin torch to 2.13.0",
            )
    if cuda is None and probe.has_gpu():
        yield _warning(
            "cuda",
            f"there is a GPU, and torch {torch} is a CPU-only build: training will not use the GPU",
            "install torch's CUDA build: https://pytorch.org/get-started/locally",
        )
    elif cuda is not None and not probe.has_gpu():
        yield _note(
            "cuda",
            f"torch {torch} is built for CUDA {cuda}, and no GPU was found: training runs on the CPU",
            "nothing to do; torch's CPU build would save about 4 GB of disk",
        )
    elif cuda is not None:
        driver = re.search(r"Kernel Module\D*(\d+)\.", probe.read("/proc/driver/nvidia/version") or "")
        # The oldest driver branch that each major version of CUDA runs on.
        needed_driver = {11: 450, 12: 525, 13: 580}.get(_release(cuda)[0], 0)
        if driver and int(driver.group(1)) < needed_driver:
            yield _warning(
                "driver",
                f"torch {torch} is built for CUDA {cuda}, which needs NVIDIA's driver {needed_driver} or later; it is "
                f"{driver.group(1)}: torch will not see the GPU",
                "update the driver, or install torch's build for an older CUDA",
            )


def _torchaudio(probe: Probe) -> Iterator[Finding]:
    result, torch = probe.version("torchaudio"), probe.version("torch")
    if result is None:
        return
    if torch is not None and _release(result)[:2] == _release(torch)[:2]:
        yield _warning(
            "torchaudio",
            f"torchaudio {result} is installed; 2.11 is its last release, and imports break with the next torch",
            "pip uninstall torchaudio; polysense does not use it",
        )
    else:
        yield _broken(
            "torchaudio",
            f"torchaudio {result} is installed beside torch {torch}: importing it fails, and transformers and peft "
            "import it where they find it",
            "pip uninstall torchaudio; polysense does not use it",
        )


def _disruptive_packages(probe: Probe) -> Iterator[Finding]:
    if probe.version("torchcodec") is not None and not probe.has_library("avutil"):
        yield _warning(
            "torchcodec",
            "torchcodec is installed, and the FFmpeg libraries that it needs (libavutil and others) are not found: "
            "importing it fails, and `datasets` decodes audio with it",
            "install FFmpeg, or uninstall torchcodec; polysense decodes audio without either",
        )
    for name in ("lightning", "pytorch-lightning"):
        if probe.version(name) in ("2.6.2", "2.6.3"):
            yield _broken(
                name,
                f"{name} {probe.version(name)} is a malicious upload",
                f"pip uninstall {name}, and change every password and token that this machine can read",
            )
    for packages, problem, remedy in _CLASHES:
        if all(probe.version(name) is not None for name in packages):
            are = "is" if len(packages) == 1 else "are both"
            yield _warning(packages[0], f"{' and '.join(packages)} {are} installed; {problem}", remedy)


def _machine(probe: Probe) -> Iterator[Finding]:
    cpus: float = probe.num_cpus()
    quota = (probe.read("/sys/fs/cgroup/cpu.max") or "max").split()
    if len(quota) == 2 and quota[0].isdigit() and int(quota[1]) > 0:
        cpus = min(cpus, int(quota[0]) / int(quota[1]))
    requested = probe.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    threads = int(requested) if requested.isdigit() else probe.num_cpus()
    if threads > max(1.0, cpus):
        how = f"OMP_NUM_THREADS is {threads}" if requested else f"torch would start {threads} threads"
        yield _warning(
            "threads",
            f"{how}, and this process may use {cpus:g} CPUs: the threads would wait for one another",
            f"set OMP_NUM_THREADS={max(1, int(cpus))}",
        )
    memory = _free_memory(probe)
    if memory is not None and memory < 1.5 * _GIB:
        yield _warning(
            "memory",
            f"{memory / _GIB:.1f} GiB of memory are free; torch alone takes about 0.5",
            "close other programs, or lower training.batch_size",
        )
    shared = probe.free_disk(Path("/dev/shm"))
    if shared is not None and shared < 0.25 * _GIB:
        yield _warning(
            "shared memory",
            f"/dev/shm has {shared / 2**20:.0f} MiB free; data workers pass batches through it and die when it is full",
            "in a container: --shm-size=2g; or train with data.num_workers=0",
        )


def _free_memory(probe: Probe) -> int | None:
    """Bytes that this process may still take: the machine's, or its container's where that has less."""
    match = re.search(r"^MemAvailable:\s+(\d+) kB", probe.read("/proc/meminfo") or "", re.MULTILINE)
    free = [int(match.group(1)) * 1024] if match else []
    limit = (probe.read("/sys/fs/cgroup/memory.max") or "").strip()
    used = (probe.read("/sys/fs/cgroup/memory.current") or "").strip()
    if limit.isdigit() and used.isdigit():
        free.append(max(0, int(limit) - int(used)))
    return min(free, default=None)


def _folders(probe: Probe) -> Iterator[Finding]:
    here = Path.cwd()
    disk = probe.free_disk(here)
    if disk is not None and disk < _GIB:
        yield _warning(
            "disk",
            f"{disk / _GIB:.1f} GiB of disk are free at {here}; a run with its checkpoints may need more",
            "free some space, or write runs elsewhere with --output",
        )
    if not probe.is_writable(here):
        yield _warning("folder", f"nothing can be written in {here}", "name the run's folder with --output")
    environ = probe.environ
    cache = environ.get("HF_HUB_CACHE") or environ.get("HF_HOME") or str(Path.home() / ".cache" / "huggingface")
    if not probe.is_writable(Path(cache).expanduser()):
        yield _warning(
            "hub cache",
            f"nothing can be written in {cache}, where pretrained weights are kept: a hub name will not load",
            "set HF_HOME to a folder that can be written, or name weights by a local path",
        )
