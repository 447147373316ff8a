"""An index of many vectors: how long it takes to build, how much memory, how fast it answers, and how much it finds.

    python benchmarks/search.py [--rows 1000000] [--dim 256] [--engine folder] [--folder FOLDER] [--no-graph]

The engine is `folder`, polysense's own index, or `lance`, a LanceDB table behind the same interface.

Vectors are synthetic and clustered: a thousand centres with Zipf sizes, a spread of 32 dimensions around each, and a
little noise in all. Uniform random vectors would be unlike embeddings: all their neighbours are about equally far, and
any graph looks bad. Queries are new draws of the same. Times are of one query at a time, wall clock; memory is what the
process holds besides mapped files.
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

from polysense.search import Backend, create_index, open_index

_BATCH = 50_000
_CENTRES = 1000
_SPREAD = 32


def draw(count: int, dim: int, seed: int) -> np.ndarray:
    """Clustered vectors, float32 [count, dim]."""
    fixed = np.random.default_rng(0)
    centres = fixed.standard_normal((_CENTRES, dim), dtype=np.float32)
    spread = fixed.standard_normal((_SPREAD, dim), dtype=np.float32) / np.sqrt(_SPREAD)
    sizes = 1.0 / np.arange(1, _CENTRES + 1)
    draws = np.random.default_rng(seed)
    chosen = centres[draws.choice(_CENTRES, count, p=sizes / sizes.sum())]
    around = draws.standard_normal((count, _SPREAD), dtype=np.float32) @ spread
    return chosen + around + 0.2 * draws.standard_normal((count, dim), dtype=np.float32)


def memory() -> float:
    """MiB that this process holds besides mapped files; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon")), 0.0)


def times(index: Backend, queries: np.ndarray, **options: object) -> tuple[str, list[list[object]]]:
    """p50 and p99 in milliseconds, and what was found."""
    seconds, found = [], []
    for query in queries[:, None]:
        start = time.perf_counter()
        (one,) = index.search(query, 10, **options)  # type: ignore[arg-type]
        seconds.append(time.perf_counter() - start)
        found.append(list(one.ids))
    p50, p99 = np.quantile(seconds, [0.5, 0.99]) * 1e3
    return f"{p50:.1f} / {p99:.1f} ms", found


def recall(found: list[list[object]], truth: list[list[object]]) -> float:
    """Share of the true neighbours that were found."""
    return float(np.mean([len({*a} & {*b}) / len(b) for a, b in zip(found, truth, strict=True)]))


def measure(arguments: argparse.Namespace, folder: Path) -> Iterator[tuple[str, str]]:
    """The table's lines, as they are known."""
    rows, dim = arguments.rows, arguments.dim
    before = peak = memory()
    spent = 0.0
    place = folder / ("index.lance" if arguments.engine == "lance" else "index")
    with create_index(place, dim=dim) as index:
        for low in range(0, rows, _BATCH):
            count = min(_BATCH, rows - low)
            vectors = draw(count, dim, 1 + low)
            ids = np.arange(low, low + count)
            start = time.perf_counter()
            index.add(ids, vectors, {"part": ids % 100})
            spent += time.perf_counter() - start
            peak = max(peak, memory())
        yield "written", f"{rows:,} x {dim} in {spent:.0f} s ({rows / spent:,.0f} rows/s), each batch durable"
        size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
        yield "on disk", f"{size / 2**20:,.0f} MiB (vectors alone {rows * dim * 4 / 2**20:,.0f})"
        yield "memory while writing", f"{peak - before:,.0f} MiB more than at the start (a batch is {_BATCH:,} rows)"
        queries = draw(arguments.queries, dim, 0)
        few = queries[: max(1, arguments.queries // 10)]
        exact: dict[str, object] = {"exact": True}
        if arguments.engine == "folder":
            exact["threads"] = arguments.threads
        times(index, few[:2], **exact)  # the first read of the files is not the index's doing
        yield "exact, p50 / p99", times(index, few, **exact)[0]
        start = time.perf_counter()
        truth = [
            list(one.ids)
            for low in range(0, len(queries), 64)
            for one in index.search(queries[low : low + 64], **exact)
        ]
        yield "exact, 64 queries at once", f"{(time.perf_counter() - start) * 1e3 / len(queries):.1f} ms each"
        yield "exact, filter that 1% meet", times(index, few, filter="part = 3", **exact)[0]
        yield "memory, exact search", f"{memory() - before:,.0f} MiB"
        if arguments.graph:
            start = time.perf_counter()
            graph = index.build_graph()
            seconds = time.perf_counter() - start
            more = sum(path.stat().st_size for path in place.rglob("*") if path.is_file()) - size
            yield "graph built in", f"{seconds:.0f} s, {more / 2**20:,.0f} MiB more on disk"
            yield "memory with the graph", f"{memory() - before:,.0f} MiB"
            yield "graph, as it measures itself", f"recall@10 {graph.recall:.3f} with breadth {graph.breadth}"
            shown, found = times(index, queries, exact=False)
            yield "graph, p50 / p99", shown
            yield "graph, recall@10 on new draws", f"{recall(found, truth):.3f} over {len(queries)} queries"
            shown, found = times(index, few, exact=False, filter="part < 50")
            half = times(index, few, filter="part < 50", **exact)[1]
            yield "graph, filter that half meet", f"{shown}, recall@10 {recall(found, half):.3f}"
    start = time.perf_counter()
    opened = open_index(place)
    yield "opened again in", f"{(time.perf_counter() - start) * 1e3:.0f} ms"
    if arguments.engine == "folder":
        start = time.perf_counter()
        opened.verify()
        yield "every checksum in", f"{time.perf_counter() - start:.1f} s"


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--engine", choices=["folder", "lance"], default="folder")
    parser.add_argument("--threads", type=int, default=1, help="of the folder's exact search, beside BLAS's")
    parser.add_argument("--graph", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--folder", type=Path, help="where the index goes; by default a temporary folder")
    arguments = parser.parse_args(given)
    sys.stdout.write(f"| {arguments.rows:,} x {arguments.dim}, {arguments.engine} | |\n|---|---|\n")
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        for name, value in measure(arguments, folder):
            sys.stdout.write(f"| {name} | {value} |\n")
            sys.stdout.flush()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
