"""Items a second of one core: from files and from the prepared store, against plain loaders and other libraries.

    python benchmarks/data_pipeline.py DIR [--only image audio video] [--items 300] [--rounds 5] [--output FILE]

DIR holds the tables' folders (grocery, esc10, grid_av). Every way gives batches of one shape of the same samples:
pictures of the column's size, mono sound at its rate, eight frames of a clip. One process and one thread each, no
worker. The ways take turns, and a ratio is the median of those of the rounds, of processor time, for others may use the
machine.

`library`: the best chain of single libraries that we know (Pillow's `draft` and resize; soundfile and soxr; PyAV up to
the last wanted frame, scaled by swscale). `plain`: what tutorials show, in torch's DataLoader (Pillow and torchvision's
transforms; soundfile and SciPy; PyAV, every frame). `webdataset` and `litdata` read the same samples from shards, the
files as they are (decoded as by `library`) and decoded arrays; they are left out, by name, where they can't be
imported. Writes one JSON document.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import os
import platform
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import polysense
from polysense.config.codec import from_dict
from polysense.core.schema import Requirements
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.loader import TrainLoader
from polysense.data.column import ColumnConfig, ColumnProcessor
from polysense.data.executors.local import LocalExecutor
from polysense.data.processor import Processor
from polysense.data.store.prepared import PreparedStore
from polysense.workflows.cell_preparation import _Filling

Way = Callable[[], Iterator[torch.Tensor]]

_BATCH = 32
_FRAMES = 8
_TABLES = {
    "image": ("grocery/data.csv", "image"),
    "audio": ("esc10/data.csv", "audio"),
    "video": ("grid_av/data.jsonl", "clip"),
}


@dataclass(frozen=True)
class Samples:
    """The same samples for every way.

    Attributes:
        kind: Of the column.
        files: One for each sample.
        processor: The fitted preprocessing.
    """

    kind: str
    files: Sequence[Path]
    table: polysense.Table
    processor: Processor

    @property
    def column(self) -> Any:
        """The fitted record."""
        return next(iter(self.processor.columns.values())).column

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of pictures and frames."""
        column = self.column
        return tuple(column.image_size if self.kind == "image" else column.frame.image_size)


def samples_of(kind: str, folder: Path, num_items: int) -> Samples:
    """The first samples of a table, in steps over all of it."""
    file, name = _TABLES[kind]
    table = polysense.read_table(folder / file)
    step = max(1, len(table) // num_items)
    table = table.select(range(0, step * min(num_items, len(table)), step))
    plain = {"type": kind, **({"frames": _FRAMES} if kind == "video" else {})}
    column: ColumnProcessor = from_dict(ColumnConfig, plain, where=name).build(name)  # type: ignore[type-abstract]
    sources = [table.source(i, name) for i in range(len(table))]
    column.fit(table.cells(name), sources, table.root, Requirements())
    files = [table.root / str(cell) for cell in table.cells(name)]
    return Samples(kind, files, table, Processor({name: column}, {}))


def ours(samples: Samples, store: PreparedStore | None) -> Way:
    """The loader of a training."""

    (column,) = samples.processor.columns.values()
    samples.processor.use_prepared(store)
    prepared = column.prepared
    assert (prepared is None) == (store is None)

    def way() -> Iterator[torch.Tensor]:
        column.prepared = prepared
        dataset = TableDataset(samples.table, samples.processor, with_targets=False)
        loader = TrainLoader(dataset, samples.processor.schema, _BATCH, 0)
        for batch in loader.epoch(0):
            (values,) = (each.values for each in batch.columns.values())
            yield values

    return way


class _Files(torch.utils.data.Dataset[np.ndarray]):
    def __init__(self, files: Sequence[Any], read: Callable[[Any], np.ndarray]) -> None:
        self.files, self.read = files, read

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.read(self.files[index])


def _stacked(arrays: Sequence[np.ndarray]) -> torch.Tensor:
    """A batch; sounds are padded to the longest."""
    longest = max(len(array) for array in arrays)
    batch = np.zeros((len(arrays), longest, *arrays[0].shape[1:]), arrays[0].dtype)
    for row, array in enumerate(arrays):
        batch[row, : len(array)] = array
    return torch.from_numpy(batch)


def in_data_loader(files: Sequence[Any], read: Callable[[Any], np.ndarray]) -> Way:
    """A torch DataLoader over files."""
    return lambda: iter(
        torch.utils.data.DataLoader(_Files(files, read), batch_size=_BATCH, shuffle=True, collate_fn=_stacked)
    )


def in_loop(files: Sequence[Any], read: Callable[[Any], np.ndarray]) -> Way:
    """A plain loop, which has no overhead at all."""

    def way() -> Iterator[torch.Tensor]:
        for start in range(0, len(files), _BATCH):
            yield _stacked([read(file) for file in files[start : start + _BATCH]])

    return way


def _fitted_image(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """Scaled into a size, gray around it."""
    scale = min(size[0] / image.height, size[1] / image.width)
    inner = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    if inner != image.size:
        image = image.resize(inner, Image.Resampling.BILINEAR)
    canvas = np.full((3, *size), 128, np.uint8)
    top, left = (size[0] - inner[1]) // 2, (size[1] - inner[0]) // 2
    canvas[:, top : top + inner[1], left : left + inner[0]] = np.asarray(image).transpose(2, 0, 1)
    return canvas


def library_image(samples: Samples) -> Callable[[Any], np.ndarray]:
    """Pillow, with `draft`."""
    size = samples.size

    def read(file: Any) -> np.ndarray:
        with Image.open(file) as image:
            image.draft("RGB", (size[1], size[0]))
            return _fitted_image(image.convert("RGB"), size)

    return read


def plain_image(samples: Samples) -> Callable[[Any], np.ndarray]:
    """Pillow and torchvision's transforms, as in its tutorials."""
    from torchvision import transforms

    height, width = samples.size
    apply = transforms.Compose([transforms.Resize(min(height, width)), transforms.CenterCrop((height, width)),
                                transforms.ToTensor()])  # fmt: skip

    def read(file: Any) -> np.ndarray:
        with Image.open(file) as image:
            return apply(image.convert("RGB")).numpy()

    return read


def library_audio(samples: Samples) -> Callable[[Any], np.ndarray]:
    """soundfile and soxr."""
    import soundfile
    import soxr

    rate = samples.column.sample_rate

    def read(file: Any) -> np.ndarray:
        values, own = soundfile.read(file, dtype="float32", always_2d=True)
        mono = values.mean(axis=1)
        mono = mono if own == rate else soxr.resample(mono, own, rate)
        return np.clip(np.rint(mono * 32768), -32768, 32767).astype(np.int16)

    return read


def plain_audio(samples: Samples) -> Callable[[Any], np.ndarray]:
    """soundfile and SciPy's polyphase filter."""
    import math

    import soundfile
    from scipy.signal import resample_poly

    rate = samples.column.sample_rate

    def read(file: Any) -> np.ndarray:
        values, own = soundfile.read(file, always_2d=True)
        shared = math.gcd(own, rate)
        return resample_poly(values.mean(axis=1), rate // shared, own // shared).astype(np.float32)

    return read


def _frames(file: Any, *, every: bool) -> list[Any]:
    """Eight evenly spaced frames; decoded up to the last one, or all of them."""
    import av

    with av.open(str(file) if isinstance(file, Path) else file) as container:
        stream = container.streams.video[0]
        total = stream.frames or 75
        chosen = {int((k + 0.5) * total / _FRAMES) for k in range(_FRAMES)}
        frames = []
        for index, frame in enumerate(container.decode(stream)):
            if index in chosen or every:
                frames.append(frame)
            if not every and index >= max(chosen):
                break
    return frames


def library_video(samples: Samples) -> Callable[[Any], np.ndarray]:
    """PyAV: only wanted frames are converted, by swscale at the wanted size."""
    height, width = samples.size

    def read(file: Any) -> np.ndarray:
        frames = _frames(file, every=False)
        return np.stack([f.to_ndarray(format="rgb24", width=width, height=height).transpose(2, 0, 1) for f in frames])

    return read


def plain_video(samples: Samples) -> Callable[[Any], np.ndarray]:
    """Every frame as an array, as `torchvision.io.read_video` gave it; eight are taken and resized by torch."""
    height, width = samples.size

    def read(file: Any) -> np.ndarray:
        video = np.stack([frame.to_ndarray(format="rgb24") for frame in _frames(file, every=True)])
        chosen = video[[int((k + 0.5) * len(video) / _FRAMES) for k in range(_FRAMES)]]
        values = torch.from_numpy(chosen).permute(0, 3, 1, 2).float() / 255
        return torch.nn.functional.interpolate(values, (height, width), mode="bilinear", antialias=True).numpy()

    return read


LIBRARY = {"image": library_image, "audio": library_audio, "video": library_video}
PLAIN = {"image": plain_image, "audio": plain_audio, "video": plain_video}


def _array_bytes(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def webdataset_ways(samples: Samples, folder: Path) -> dict[str, Way]:
    """Shards of the files as they are, decoded by the best library chain, and of decoded arrays."""
    import webdataset

    read = LIBRARY[samples.kind](samples)
    for name in ("files", "arrays"):
        with tarfile.open(folder / f"{name}.tar", "w") as shard:
            for index, file in enumerate(samples.files):
                data = file.read_bytes() if name == "files" else _array_bytes(read(file))
                info = tarfile.TarInfo(f"{index:06d}.{'bin' if name == 'files' else 'npy'}")
                info.size = len(data)
                shard.addfile(info, io.BytesIO(data))

    def way(name: str, key: str, decode: Callable[[bytes], np.ndarray]) -> Way:
        def batches() -> Iterator[torch.Tensor]:
            pipeline = webdataset.WebDataset(str(folder / f"{name}.tar"), shardshuffle=False).shuffle(100)
            decoded = pipeline.map(lambda sample: decode(sample[key])).batched(_BATCH, collation_fn=_stacked)
            yield from decoded

        return batches

    return {
        "webdataset_files": way("files", "bin", lambda data: read(io.BytesIO(data))),
        "webdataset_arrays": way("arrays", "npy", lambda data: np.load(io.BytesIO(data))),
    }


def litdata_ways(samples: Samples, folder: Path) -> dict[str, Way]:
    """Optimized chunks of the files as they are, and of decoded arrays."""
    from litdata.streaming import Cache, StreamingDataset  # noqa: F401
    from litdata.streaming.writer import BinaryWriter

    read = LIBRARY[samples.kind](samples)
    for name in ("files", "arrays"):
        writer = BinaryWriter(str(folder / name), chunk_bytes=2**26)
        for index, file in enumerate(samples.files):
            array = np.frombuffer(file.read_bytes(), np.uint8) if name == "files" else read(file)
            writer[index] = {"value": array}
        writer.done()
        writer.merge()

    def way(name: str, decode: Callable[[np.ndarray], np.ndarray]) -> Way:
        def batches() -> Iterator[torch.Tensor]:
            dataset = StreamingDataset(str(folder / name), shuffle=True)
            values = (decode(np.asarray(item["value"])) for item in dataset)
            part: list[np.ndarray] = []
            for value in values:
                part.append(value)
                if len(part) == _BATCH:
                    yield _stacked(part)
                    part = []
            if part:
                yield _stacked(part)

        return batches

    return {
        "litdata_files": way("files", lambda data: read(io.BytesIO(data.tobytes()))),
        "litdata_arrays": way("arrays", lambda data: data),
    }


def filled_store(samples: Samples, folder: Path) -> PreparedStore:
    """The store with all of the samples."""
    store = PreparedStore(folder)
    ((name, column),) = samples.processor.columns.items()
    _Filling(store, name, column, [samples.table]).run(LocalExecutor(1), progress=False)
    return store


def seconds_of(way: Way) -> tuple[float, int]:
    """Processor seconds of a pass, and the items that it gave."""
    start, items = time.process_time(), 0
    for batch in way():
        items += len(batch)
    return time.process_time() - start, items


def measure(samples: Samples, num_rounds: int, folder: Path) -> dict[str, Any]:
    """Items a second of every way, and the ratios."""
    store = filled_store(samples, folder / "store")
    ways: dict[str, Way] = {
        "polysense_files": ours(samples, None),
        "polysense_store": ours(samples, store),
        "library": in_loop(samples.files, LIBRARY[samples.kind](samples)),
        "plain": in_data_loader(samples.files, PLAIN[samples.kind](samples)),
    }
    skipped: dict[str, str] = {}
    for name, make in (("webdataset", webdataset_ways), ("litdata", litdata_ways)):
        (folder / name).mkdir()
        try:
            ways |= make(samples, folder / name)
        except ImportError as error:
            skipped[name] = str(error)
    rounds: list[dict[str, float]] = []
    for number in range(num_rounds + 1):
        seconds = {}
        for name in list(ways) if number % 2 else list(ways)[::-1]:
            seconds[name], items = seconds_of(ways[name])
            assert items == len(samples.files), f"{name} gave {items} of {len(samples.files)} items"
        if number:  # the first one warms files and imports
            rounds.append(seconds)
    pairs = [("polysense_files", "library"), ("polysense_files", "plain"), ("polysense_store", "plain")]
    pairs += [("polysense_store", "polysense_files")]
    pairs += [("polysense_files", name) for name in ways if name.endswith("_files") and name != "polysense_files"]
    pairs += [("polysense_store", name) for name in ways if name.endswith("_arrays")]
    return {
        "items": len(samples.files),
        "items_per_second": {
            name: len(samples.files) / statistics.median(each[name] for each in rounds) for name in ways
        },
        "ratios": {
            f"{one} / {other}": statistics.median(each[other] / each[one] for each in rounds) for one, other in pairs
        },
        "skipped": skipped,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", nargs="*", choices=list(_TABLES), default=list(_TABLES))
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    results: dict[str, Any] = {"python": platform.python_version(), "torch": torch.__version__, "kinds": {}}
    results["libraries"] = [name for name in ("webdataset", "litdata") if importlib.util.find_spec(name) is not None]
    for kind in arguments.only:
        if not (arguments.data / _TABLES[kind][0]).exists():
            results["kinds"][kind] = {"skipped": f"{_TABLES[kind][0]} is not there"}
            continue
        with tempfile.TemporaryDirectory() as folder:
            samples = samples_of(kind, arguments.data, arguments.items)
            results["kinds"][kind] = measure(samples, arguments.rounds, Path(folder))
    text = json.dumps(results, indent=2)
    if arguments.output is not None:
        arguments.output.write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
