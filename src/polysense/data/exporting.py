"""What every exporter shares: predictions of one target as files in the format of others, or as pictures for people.

An exporter gets the head's arrays batch by batch, as they are before they become columns of a table, so that it may
hold more than the table does (detections of any score), and nothing has to be kept in memory that it does not keep.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from polysense.config.base import Family, members
from polysense.config.codec import from_dict, parse_yaml
from polysense.core.files import named_path, replacing_folder, require_writable, write_bytes
from polysense.core.geometry import Geometry
from polysense.core.registry import named, task
from polysense.core.schema import Schema, Target
from polysense.core.task_spec import Arrays
from polysense.data.tables.frame_file import naming
from polysense.data.tables.sources import Table
from polysense.data.target import TargetProcessor
from polysense.errors import ConfigError

__all__ = ["Export", "ExportPictures", "ExporterConfig", "decoded_columns", "exporters_of", "opened_exports"]


class Export(ABC):
    """A file or folder that is being written."""

    @abstractmethod
    def add(self, outputs: Arrays, table: Table, geometry: Mapping[str, Geometry]) -> None:
        """Takes the predictions of some rows.

        Args:
            outputs: The head's arrays.
            table: These rows; `rows` has their numbers in what was read. Batches come in any order.
            geometry: Per input column whose items have places, where each row's cell lies.
        """


@dataclass(frozen=True, kw_only=True)
class ExporterConfig(Family, ABC, family="exporter", homes=("tasks.*.exporters.*",)):
    """A format.

    Attributes:
        target: Which target, where the model has several of the task.
    """

    tasks: ClassVar[frozenset[str]] = frozenset()
    """The tasks whose predictions it can hold."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    """The endings that its file may have; none: it is a folder."""

    type: str
    target: str | None = None

    @abstractmethod
    def open(self, target: Target, source: str, path: Path) -> AbstractContextManager[Export]:
        """Begins to write; when the block ends, the file or folder takes its place whole, and if it raises, not at all.

        Args:
            target: What is predicted.
            source: The table's column of the items that the target lies in; "" for none.
            path: Where to.

        Raises:
            UserError: What it needs can't be read.
        """


class ExportPictures(Export):
    """Pictures in a folder, one for each row that has an image, named by the row's number."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    @contextlib.contextmanager
    def opened(cls, folder: Path, *arguments: Any) -> Iterator[ExportPictures]:
        """As `ExporterConfig.open`; the arguments are the class's own behind the folder."""
        with naming(folder), replacing_folder(folder) as part:
            yield cls(part, *arguments)

    def write(self, row: int, picture: bytes) -> None:
        """Writes a row's, a JPEG file."""
        write_bytes(self._folder / f"{row}.jpg", picture, durable=False)


def exporters_of(exports: Mapping[str | Path, Any], schema: Schema) -> list[tuple[Path, ExporterConfig, Target]]:
    """What is to be exported, checked before anything is predicted.

    Args:
        exports: Per path a type ("coco"), keys with a `type`, as a mapping or as YAML in braces, or a config.
        schema: The model's.

    Raises:
        ConfigError: There is no such exporter or key, the model has no target for it, or several and it names none, or
            two write to one place.
    """
    result: list[tuple[Path, ExporterConfig, Target]] = []
    for place, stated in exports.items():
        where = f"export to {place}"
        plain = stated
        if isinstance(stated, str):
            plain = parse_yaml(stated, where) if stated.startswith("{") else {"type": stated}
        config = plain if isinstance(plain, ExporterConfig) else from_dict(_base(), plain, where=where)
        path, target = named_path(Path(place), "the export"), _target(config, schema, where)
        if config.suffixes and path.suffix not in config.suffixes:
            raise ConfigError(f"{where}: {config.type} writes a file; expected a name in {', '.join(config.suffixes)}")
        if not config.suffixes and path.exists() and not path.is_dir():
            raise ConfigError(f"{where}: {config.type} writes a folder, and a file is there; name another")
        if any(path.absolute() == other.absolute() for other, _, _ in result):
            raise ConfigError(f"{where}: two exports have this name; name another")
        require_writable(path)
        result.append((path, config, target))
    return result


def _base() -> type[ExporterConfig]:
    members("exporter")
    return ExporterConfig


def _target(config: ExporterConfig, schema: Schema, where: str) -> Target:
    able = [target for target in schema.targets if target.task in config.tasks]
    kinds = " or ".join(sorted(config.tasks))
    if config.target is not None:
        named_one = [target for target in able if target.name == config.target]
        if not named_one:
            raise ConfigError(
                f"{where}: the model has no target {config.target!r} of {kinds}, which {config.type} holds"
            )
        return named_one[0]
    if len(able) != 1:
        names = ", ".join(target.name for target in able)
        said = (
            f"several targets are of {kinds} ({names}); say which with `target`" if able else f"no target is of {kinds}"
        )
        raise ConfigError(f"{where}: {config.type} holds predictions of {kinds}, and {said}")
    return able[0]


@contextlib.contextmanager
def opened_exports(
    exports: Sequence[tuple[Path, ExporterConfig, Target]], sources: Mapping[str, str]
) -> Iterator[dict[str, list[Export]]]:
    """Exports to hand outputs to, per target; they are complete when the block ends.

    Args:
        exports: As `exporters_of` gives them.
        sources: Per input column the table's column that it is read from.
    """
    result: dict[str, list[Export]] = {}
    with contextlib.ExitStack() as stack:
        for path, config, target in exports:
            over = task(target.task).lies_in(target)
            export = stack.enter_context(config.open(target, sources.get(over or "", ""), path))
            result.setdefault(target.name, []).append(export)
        yield result


def decoded_columns(
    target: Target,
    outputs: Arrays,
    processor: TargetProcessor,
    table: Table,
    geometry: Mapping[str, Geometry],
    exports: Sequence[Export] = (),
) -> dict[str, Any]:
    """A target's columns in a table of predictions (`TaskSpec.decode`), handing what is exported on the way."""
    for export in exports:
        export.add(outputs, table, geometry)
    columns = named(task(target.task).decode)(target, outputs, processor, table, geometry)
    assert isinstance(columns, dict), f"{target.name}: its columns are a {type(columns).__name__}"
    return columns
