"""An index of many vectors: how long it takes to build, how much memory, how fast search is, and its recall.

    python benchmarks/search.py [--rows 1000000] [--dim 256] [--folder FOLDER] [--no-ann]

Vectors are synthetic and clustered: a thousand centers with Zipf sizes, a spread of 32 dimensions around each, and a
little noise in all. Uniform random vectors would be unlike embeddings: all their neighbors are about equally far, and
any ANN index looks bad. Queries are new draws of the same. Times are of one query at a time, wall clock; memory is what
the process holds besides mapped files.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from polysense.search import VectorIndex

_BATCH = 50_000
_CENTERS = 1000
_SPREAD = 32


def draw(count: int, dim: int, seed: int) -> np.ndarray:
    """Clustered vectors, float32 [count, dim]."""
    fixed = np.random.default_rng(0)
    centers = fixed.standard_normal((_CENTERS, dim), dtype=np.float32)
    spread = fixed.standard_normal((_SPREAD, dim), dtype=np.float32) / np.sqrt(_SPREAD)
    sizes = 1.0 / np.arange(1, _CENTERS + 1)
    draws = np.random.default_rng(seed)
    chosen = centers[draws.choice(_CENTERS, count, p=sizes / sizes.sum())]
    around = draws.standard_normal((count, _SPREAD), dtype=np.float32) @ spread
    return chosen + around + 0.2 * draws.standard_normal((count, dim), dtype=np.float32)


def memory() -> float:
    """MiB that this process holds besides mapped files; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon")), 0.0)


def mebibytes(folder: Path) -> float:
    """The size of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def times(index: VectorIndex, queries: np.ndarray, **options: object) -> tuple[str, list[list[object]]]:
    """p50 and p99 in milliseconds, and the ids of the 10 nearest rows of each query."""
    seconds, ids = [], []
    for query in queries[:, None]:
        start = time.perf_counter()
        (neighbors,) = index.search(query, 10, **options)  # type: ignore[arg-type]
        seconds.append(time.perf_counter() - start)
        ids.append(list(neighbors.ids))
    p50, p99 = np.quantile(seconds, [0.5, 0.99]) * 1e3
    return f"{p50:.1f} / {p99:.1f} ms", ids


def recall(ids: list[list[object]], truth: list[list[object]]) -> float:
    """Share of the true neighbors that were returned."""
    return float(np.mean([len({*a} & {*b}) / len(b) for a, b in zip(ids, truth, strict=True)]))


def measure(arguments: argparse.Namespace, folder: Path) -> Iterator[tuple[str, str]]:
    """The table's lines, as they are known."""
    rows, dim = arguments.rows, arguments.dim
    before = peak = memory()
    spent = 0.0
    location = folder / "index"
    with VectorIndex.create(location, dim=dim) as index:
        for low in range(0, rows, _BATCH):
            count = min(_BATCH, rows - low)
            vectors = draw(count, dim, 1 + low)
            ids = np.arange(low, low + count)
            start = time.perf_counter()
            index.add(ids, vectors, {"part": ids % 100})
            spent += time.perf_counter() - start
            peak = max(peak, memory())
        yield "written", f"{rows:,} x {dim} in {spent:.0f} s ({rows / spent:,.0f} rows/s)"
        size = mebibytes(location)
        yield "on disk", f"{size:,.0f} MiB (vectors alone {rows * dim * 4 / 2**20:,.0f})"
        yield "memory while writing", f"{peak - before:,.0f} MiB more than at the start (a batch is {_BATCH:,} rows)"
        queries = draw(arguments.queries, dim, 0)
        few = queries[: max(1, arguments.queries // 10)]
        start = time.perf_counter()
        index.search(few[:1], exact=True)
        yield "exact, first query", f"{(time.perf_counter() - start) * 1e3:.0f} ms"
        yield "exact, p50 / p99", times(index, few, exact=True)[0]
        start = time.perf_counter()
        truth = [list(one.ids) for one in index.search(queries, exact=True)]
        yield "exact, all queries at once", f"{(time.perf_counter() - start) * 1e3 / len(queries):.1f} ms each"
        yield "exact, filter that 1% meet", times(index, few, exact=True, filter="part = 3")[0]
        yield "memory, exact search", f"{memory() - before:,.0f} MiB"
        if arguments.ann:
            start = time.perf_counter()
            report = index.build_ann()
            seconds = time.perf_counter() - start
            yield "ANN index built and measured in", f"{seconds:.0f} s, {mebibytes(location) - size:,.0f} MiB on disk"
            yield (
                "ANN, as it measures itself",
                f"recall@10 {report.recall:.3f} with nprobes {report.nprobes} and refine_factor {report.refine_factor}",
            )
            duration, ids_of_ann = times(index, queries, exact=False)
            yield "ANN, p50 / p99", duration
            yield "ANN, recall@10 on new draws", f"{recall(ids_of_ann, truth):.3f} over {len(queries)} queries"
            duration, ids_of_ann = times(index, few, exact=False, filter="part < 50")
            half = times(index, few, exact=True, filter="part < 50")[1]
            yield "ANN, filter that half meet", f"{duration}, recall@10 {recall(ids_of_ann, half):.3f}"
    start = time.perf_counter()
    VectorIndex.open(location)
    yield "opened again in", f"{(time.perf_counter() - start) * 1e3:.0f} ms"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--ann", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--folder", type=Path, help="where the index goes; by default a temporary folder")
    options = parser.parse_args(arguments)
    sys.stdout.write(f"| {options.rows:,} x {options.dim} | |\n|---|---|\n")
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        for name, value in measure(options, folder):
            sys.stdout.write(f"| {name} | {value} |\n")
            sys.stdout.flush()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
