"""An ONNX model's files: read once, checked, and run by onnxruntime, one item at a time.

A file from anywhere may name other files that hold its weights. They have to lie beside it: a model that reads any
other file would put that into a bundle. So the graph's own bytes are walked first (protobuf, some fifty lines, instead
of the onnx package), and onnxruntime sees a folder that holds nothing but the model.

Items are run one by one, each by one thread, and several at once: an item's features do not depend on the others, nor
on the machine's number of cores, and nothing is padded. What a batch would save is less than padding costs.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from polysense.core.error_text import first_line
from polysense.core.files import write_bytes
from polysense.errors import ConfigError, DependencyError, WeightsError

__all__ = ["MODEL", "OnnxFile", "OnnxInput", "OnnxNetwork"]

MODEL = "model.onnx"
"""The name of the model's file in a bundle."""

_MOST_BYTES = 2**31  # protobuf's own limit on a graph, and more than an encoder of a small table should have
_MOST_DEPTH = 60  # of graphs within graphs

# Of each message its fields that are messages and may lead to a tensor (onnx.proto).
_MESSAGES: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}


@dataclass(frozen=True, kw_only=True)
class OnnxInput:
    """One of a model's inputs.

    Attributes:
        name: Its name.
        dtype: numpy's name of what it holds.
        shape: Its sizes; None where any is taken.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class OnnxFile:
    """A model's bytes, by file name; the model itself is `MODEL`."""

    files: Mapping[str, bytes]

    @staticmethod
    def read(path: Path) -> OnnxFile:
        """Reads a model and the files of weights beside it.

        Raises:
            WeightsError: There is no such file, it is too large or no ONNX model, or it names a file elsewhere.
        """
        if not path.is_file():
            what = "is a folder; name the file in it" if path.is_dir() else "no such file"
            raise WeightsError(f"{path}: {what}; expected an ONNX model (.onnx)")
        files = {MODEL: _bytes(path, 0)}
        for name in sorted(_locations(files[MODEL], path)):
            other = path.parent / name
            inside = Path(name).name == name and other.resolve().parent == path.parent.resolve()
            if not inside:
                raise WeightsError(
                    f"{path}: its weights are to be read from {name[:200]!r}, which is not beside it; polysense reads "
                    "no other file for a model: export it with its weights in one file, or beside it"
                )
            if name == MODEL or not other.is_file():
                raise WeightsError(f"{path}: its weights are in {name}, which is not beside it; copy that file too")
            files[name] = _bytes(other, sum(map(len, files.values())))
        return OnnxFile(files=files)

    def save(self, folder: Path) -> None:
        """Writes the files, the model as `MODEL`."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in self.files.items():
            write_bytes(folder / name, data, durable=False)

    @property
    def digest(self) -> bytes:
        """SHA-256 of names and contents."""
        result = hashlib.sha256()
        for name, data in sorted(self.files.items()):
            result.update(f"{name}\0{len(data)}\0".encode())
            result.update(data)
        return result.digest()


class OnnxNetwork(nn.Module):
    """A model that onnxruntime runs on the CPU; it has no parameters, and is not trained.

    Args:
        file: The model.
        output: The name of the output that is wanted; None takes the first.
        where: What the model is called in errors.
    """

    digest: Tensor

    def __init__(self, file: OnnxFile, output: str | None, where: str) -> None:
        super().__init__()
        self.file, self.where = file, where
        # In the weights, so that what depends on them knows one model from another.
        self.register_buffer("digest", torch.frombuffer(bytearray(file.digest), dtype=torch.uint8).clone())
        self._session: Any = None
        names = [each.name for each in self.session.get_outputs()]
        if output is not None and output not in names:
            raise ConfigError(f"output: {where} has no output {output!r}; expected one of {', '.join(names[:20])}")
        self.output = names[0] if output is None else output

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_session": None}  # onnxruntime's session is of this process alone

    @property
    def session(self) -> Any:
        """onnxruntime's session, made when it is first asked for."""
        if self._session is None:
            self._session = _session(self.file, self.where)
        return self._session

    @property
    def inputs(self) -> list[OnnxInput]:
        """What the model takes."""
        return [
            OnnxInput(
                name=each.name,
                dtype=_dtype(each.type),
                shape=tuple(size if isinstance(size, int) else None for size in each.shape),
            )
            for each in self.session.get_inputs()
        ]

    def forward(self, feeds: Sequence[Mapping[str, np.ndarray]]) -> list[np.ndarray]:
        """The output for each of several items, without its batch axis, as float32."""
        if len(feeds) <= 1 or torch.get_num_threads() == 1:
            return [self._one(feed) for feed in feeds]
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            return list(pool.map(self._one, feeds))

    def _one(self, feed: Mapping[str, np.ndarray]) -> np.ndarray:
        try:
            (result,) = self.session.run([self.output], dict(feed))
        except Exception as error:  # noqa: BLE001 (onnxruntime's own, of a model from outside)
            sizes = ", ".join(f"{name} {list(value.shape)}" for name, value in feed.items())
            raise ConfigError(f"{self.where}: can't be run on {sizes}: {first_line(error)}") from None
        if not isinstance(result, np.ndarray) or result.ndim < 2 or len(result) != 1 or result.dtype.kind != "f":
            shape = list(result.shape) if isinstance(result, np.ndarray) else type(result).__name__
            raise ConfigError(
                f"{self.where}: for one item its output {self.output!r} is {shape}, expected floats of the shape "
                "[1, size], [1, tokens, size] or [1, size, height, width]; name another with output"
            )
        return np.asarray(result[0], dtype=np.float32)


def _session(file: OnnxFile, where: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise DependencyError(
            f"the encoder 'onnx' needs onnxruntime, which can't be imported ({error}); pip install 'polysense[onnx]'"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # an error is raised, and needs no line of its own
    # A folder of its own, so that a model finds no file that was not checked; after this call nothing is read from it.
    with tempfile.TemporaryDirectory(prefix="polysense-onnx-") as folder:
        file.save(Path(folder))
        try:
            return onnxruntime.InferenceSession(
                str(Path(folder) / MODEL), sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # noqa: BLE001 (onnxruntime's own, of a model from outside)
            raise WeightsError(f"{where}: onnxruntime can't load it: {first_line(error)}") from None


def _dtype(kind: str) -> str:
    """numpy's name of onnxruntime's "tensor(float)"."""
    name = kind.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(name, name)


def _bytes(path: Path, before: int) -> bytes:
    size = path.stat().st_size
    if before + size > _MOST_BYTES:
        raise WeightsError(f"{path}: {size:,} bytes, more than the {_MOST_BYTES:,} that an ONNX encoder may have")
    return path.read_bytes()


def _locations(data: bytes, path: Path) -> set[str]:
    """The files that a model's tensors are to be read from."""
    result: set[str] = set()
    todo: list[tuple[memoryview, str, int]] = [(memoryview(data), "model", 0)]
    has_graph = False
    try:
        while todo:
            message, kind, depth = todo.pop()
            if depth > _MOST_DEPTH:
                raise ValueError(f"graphs within graphs, more than {_MOST_DEPTH} deep")
            entry: dict[int, bytes] = {}
            for number, value in _fields(message):
                has_graph |= kind == "model" and number == 7
                below = _MESSAGES.get(kind, {}).get(number)
                if below is not None:
                    todo.append((value, below, depth + 1))
                elif kind == "entry":
                    entry[number] = bytes(value)
            if kind == "entry" and entry.get(1) == b"location":
                result.add(entry.get(2, b"").decode("utf-8"))
        if not has_graph:
            raise ValueError("it holds no graph")
    except (ValueError, IndexError) as error:  # of which UnicodeDecodeError is one
        raise WeightsError(f"{path}: is no ONNX model: {error}") from None
    return result


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The length-delimited fields of a protobuf message.

    Raises:
        ValueError: It is none.
        IndexError: It ends within a field.
    """
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            _, position = _varint(message, position)
        elif wire in (1, 5):
            position += 8 if wire == 1 else 4
        elif wire == 2:
            length, position = _varint(message, position)
            if position + length > len(message):
                raise IndexError("a field is longer than the file")
            yield number, message[position : position + length]
            position += length
        else:
            raise ValueError(f"a field of the wire type {wire}")


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise ValueError("a number of more than ten bytes")
