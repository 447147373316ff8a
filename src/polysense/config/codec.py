"""Between configs, plain dictionaries and YAML.

YAML is read with 1.2's rules for the traps of 1.1: `no`, `on` and `yes` are strings (they are also column names and
class labels), so are dates, `12:30` and codes such as `007`, and `1e-3` is a number. A key that stands twice is an
error, not the last one winning. Anchors, aliases and merge keys (`<<: *defaults`) work; a key beside a merge key wins.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import textwrap
import types
import typing
from collections.abc import Hashable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import yaml

from polysense.config.base import Config, Family, describe, members, num_registered
from polysense.core.spelling import did_you_mean, shortened
from polysense.errors import ConfigError
from polysense.escaping import visible

__all__ = [
    "dump_short_yaml",
    "dump_yaml",
    "from_dict",
    "json_schema",
    "parse_yaml",
    "read_text",
    "to_dict",
    "to_short_dict",
]

C = TypeVar("C", bound=Config)

_COMMENT_WIDTH = 110
_SHORT_WIDTH = 80
_MAX_DEPTH = 100
_MAX_VALUES = 2_000_000
_MAX_DIGITS = 40


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's booleans and floats, without duplicate keys, and with limits."""

    _depth = 0

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._merged: dict[int, yaml.MappingNode] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise yaml.composer.ComposerError(None, None, f"nested more than {_MAX_DEPTH} levels deep", self.get_mark())
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def get_single_data(self) -> Any:
        node = self.get_single_node()
        return None if node is None else self.construct_document(_bounded(node))

    def construct_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > _MAX_DIGITS:
            raise yaml.constructor.ConstructorError(
                None, None, f"a whole number of {len(node.value):,} characters", node.start_mark
            )
        return int(self.construct_yaml_int(node))

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Puts what `<<` names into a node, once: by YAML's rules, which PyYAML's versions hold in part."""
        if id(node) in self._merged:
            return
        self._merged[id(node)] = node  # with the node, whose id is then nobody else's
        own = {self._key(pair): pair for pair in node.value if pair[0].tag != _MERGE}
        sources = [self._sources(pair) for pair in node.value if pair[0].tag == _MERGE]
        if len(own) + len(sources) < len(node.value) or len(sources) > 1:
            self._refuse_twice(node)
        merged: dict[Hashable, tuple[yaml.Node, yaml.Node]] = {}
        for source in [source for each in sources for source in each]:  # what is named first wins
            self.flatten_mapping(source)
            for pair in source.value:
                merged.setdefault(self._key(pair), pair)
        node.value = [*(pair for key, pair in merged.items() if key not in own), *own.values()]

    def _key(self, pair: tuple[yaml.Node, yaml.Node]) -> Hashable:
        key = self.construct_object(pair[0], deep=True)
        if not isinstance(key, Hashable):
            raise yaml.constructor.ConstructorError(None, None, "a key must be a plain value", pair[0].start_mark)
        return key

    def _sources(self, pair: tuple[yaml.Node, yaml.Node]) -> list[yaml.MappingNode]:
        nodes = pair[1].value if isinstance(pair[1], yaml.SequenceNode) else [pair[1]]
        if not all(isinstance(node, yaml.MappingNode) for node in nodes):
            raise yaml.constructor.ConstructorError(
                None, None, "<<: expected keys and values to merge, or a list of such", pair[1].start_mark
            )
        return list(nodes)

    def _refuse_twice(self, node: yaml.MappingNode) -> None:
        visited: set[Hashable] = set()
        for pair in node.value:
            key = "<<" if pair[0].tag == _MERGE else self._key(pair)
            if key in visited:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", pair[0].start_mark)
            visited.add(key)


def _bounded(root: yaml.Node) -> yaml.Node:
    """The root again; raises ComposerError where its aliases lead back, or make more of a text than it holds.

    An alias is one object, however often it stands there, so ten lines can say a billion values; whoever walks through
    them afterwards would never end.
    """
    sizes: dict[int, int] = {}
    within: set[int] = set()

    def size(node: yaml.Node) -> int:
        if not isinstance(node, yaml.CollectionNode):
            return 1
        if id(node) in within:
            raise yaml.composer.ComposerError(None, None, "an alias stands within what it stands for", node.start_mark)
        if id(node) not in sizes:
            within.add(id(node))
            below = [part for pair in node.value for part in (pair if isinstance(pair, tuple) else (pair,))]
            sizes[id(node)] = 1 + sum(map(size, below))
            within.discard(id(node))
        if sizes[id(node)] > _MAX_VALUES:
            raise yaml.composer.ComposerError(
                None, None, f"more than {_MAX_VALUES:,} values, aliases counted", node.start_mark
            )
        return sizes[id(node)]

    size(root)
    return root


class _Dumper(yaml.SafeDumper):
    """SafeDumper that quotes whatever a reader of YAML 1.1 or of 1.2 would not take for a string."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _represent_str(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    # Escaped onto one line: a folded scalar can't be a key, and its indentation would have to be known here. What can't
    # be seen is written as its code.
    style = '"' if visible(text) != text else None
    return dumper.represent_scalar(_TAG + "str", text, style=style)


_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
# Per type its pattern and the characters that it may begin with. ASCII: other scripts' digits are text.
_PATTERNS = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?(?:0|[1-9]\d*)|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        r"[-+]?(?:\d+\.\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.(?:inf|Inf|INF))"
        r"|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, old) for tag, old in resolvers if tag.removeprefix(_TAG) not in {*_PATTERNS, "timestamp", "value"}]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _name, (_pattern, _first) in _PATTERNS.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_TAG + _name, re.compile(f"^(?:{_pattern})$", re.ASCII), list(_first))
_Dumper.add_representer(str, _represent_str)
_Loader.add_constructor(_TAG + "int", _Loader.construct_int)


def parse_yaml(text: str, where: str = "text") -> Any:
    """Plain values from YAML.

    Raises:
        ConfigError: The text is not YAML, is nested too deeply, or has too many values (names the line).
    """
    try:
        return yaml.load(text, Loader=_Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"{where}{line}: not valid YAML: {problem}") from None
    except Exception as error:  # noqa: BLE001 (of a tag's own reading: a date, a binary text)
        raise ConfigError(f"{where}: not valid YAML: {error}") from None


def read_text(path: Path) -> str:
    """A text file's content, without a byte-order mark.

    Raises:
        ConfigError: The file can't be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a directory, expected a YAML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read as UTF-8 text: {error}") from None


def to_dict(config: Any) -> Any:
    """A config as plain dictionaries, lists and scalars, complete (defaults included)."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        plain = {field.name: to_dict(getattr(config, field.name)) for field in dataclasses.fields(config)}
        # `type` first: it decides what the other keys may be.
        return {"type": plain.pop("type"), **plain} if "type" in plain else plain
    if isinstance(config, Mapping):
        return {str(key): to_dict(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return [to_dict(value) for value in config]
    if isinstance(config, Enum):
        return config.value
    if isinstance(config, Path):
        return str(config)
    return config


def to_short_dict(config: Any) -> Any:
    """A config as plain values without what its own class says anyway: read again, it is the same config.

    A `type` stays, since it decides what the other keys may be.
    """
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        plain: dict[str, Any] = {}
        for field in dataclasses.fields(config):
            value = getattr(config, field.name)
            if field.name != "type" and _is_default(field, value):
                continue
            plain[field.name] = to_short_dict(value)
        return {"type": plain.pop("type"), **plain} if "type" in plain else plain
    if isinstance(config, Mapping):
        return {str(key): to_short_dict(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return [to_short_dict(value) for value in config]
    return to_dict(config)


def _is_default(field: dataclasses.Field[Any], value: object) -> bool:
    if field.default is not dataclasses.MISSING:
        return type(field.default) is type(value) and field.default == value
    return field.default_factory is not dataclasses.MISSING and bool(field.default_factory() == value)


def dump_short_yaml(plain: Mapping[str, Any]) -> str:
    """Plain values as YAML, what fits into a line of 80 characters on one."""
    lines: list[str] = []
    _write_short(plain, 0, lines)
    return "\n".join(lines or ["{}"]) + "\n"


def _write_short(plain: Mapping[str, Any], depth: int, lines: list[str]) -> None:
    pad = "  " * depth
    for key, value in plain.items():
        line = f"{pad}{_scalar(key)}: {_scalar(value)}"
        if isinstance(value, Mapping) and value and (depth == 0 or len(line) > _SHORT_WIDTH):
            lines.append(f"{pad}{_scalar(key)}:")
            _write_short(value, depth + 1, lines)
        else:
            lines.append(line)


def dump_yaml(config: Config | Mapping[str, Any], comments: Mapping[str, str] | None = None) -> str:
    """A config as YAML.

    Args:
        config: What to write.
        comments: Per dotted path a comment to stand above that key.
    """
    lines: list[str] = []
    _write(to_dict(config), "", 0, comments or {}, lines)
    return "\n".join(lines or ["{}"]) + "\n"


def _indent(text: str) -> str:
    """The indentation that a wrapped line continues with: two more than an indented line's own."""
    own = len(text) - len(text.lstrip())
    return " " * (own + 2) if own else ""


def _scalar(value: Any) -> str:
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, allow_unicode=True, width=100_000)
    return visible(text.removesuffix("\n").removesuffix("...").removesuffix("\n"), keep="\n")  # one is long


def _write(plain: Mapping[str, Any], path: str, depth: int, comments: Mapping[str, str], lines: list[str]) -> None:
    pad = "  " * depth
    for key, value in plain.items():
        here = f"{path}.{key}" if path else str(key)
        for comment in map(visible, comments.get(here, "").splitlines()):
            wrapped = textwrap.wrap(comment, _COMMENT_WIDTH - len(pad), subsequent_indent=_indent(comment)) or [""]
            lines.extend(f"{pad}# {line}".rstrip() for line in wrapped)
        if isinstance(value, Mapping) and value:
            lines.append(f"{pad}{_scalar(key)}:")
            _write(value, here, depth + 1, comments, lines)
        else:
            lines.append(f"{pad}{_scalar(key)}: {_scalar(value)}")


def from_dict(config: type[C], plain: Any, where: str = "recipe") -> C:
    """Builds a config from plain values, checking every key and type.

    Raises:
        ConfigError: Names each wrong key's path, the value found, what was expected and the choices.
    """
    from pydantic import ValidationError

    if plain is None:
        plain = {}
    if not isinstance(plain, Mapping):
        raise ConfigError(f"{where}: found {shortened(plain)}, expected keys: {', '.join(_keys(config))}")
    try:
        built: C = _adapter(typing.cast("Hashable", config), num_registered()).validate_python(plain)
    except ValidationError as error:
        problems = [_explain(config, plain, problem) for problem in error.errors(include_url=False)]
        raise ConfigError(*(f"{where}: {problem}" for problem in problems)) from None
    except RecursionError:
        raise ConfigError(f"{where}: is nested too deeply") from None
    _refuse_nan(built, where, "")
    return built


def _refuse_nan(value: object, where: str, path: str) -> None:
    """Raises ConfigError where a number within is none; those without a limit can be."""
    if isinstance(value, Config):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        for name, below in value.items():
            _refuse_nan(below, where, f"{path}.{name}" if path else str(name))
    elif isinstance(value, float) and math.isnan(value):
        raise ConfigError(f"{where}: {path}: found nan, expected a number")


def json_schema(config: type[Config]) -> dict[str, Any]:
    """The JSON schema that an editor can check a recipe against."""
    schema: dict[str, Any] = _adapter(typing.cast("Hashable", config), num_registered()).json_schema()
    return schema


@functools.cache
def _adapter(config: Hashable, registered: int) -> Any:
    """What checks and builds a config. Making one takes a second once every component is known, so it is kept.

    Args:
        config: The class.
        registered: Members of all families; one more makes another adapter.
    """
    from pydantic import TypeAdapter

    return TypeAdapter(typing.cast("Any", config))


def _keys(config: Any) -> list[str]:
    is_class = isinstance(config, type) and dataclasses.is_dataclass(config)
    return [field.name for field in dataclasses.fields(config)] if is_class else []


def _explain(config: type[Config], plain: Any, problem: Mapping[str, Any]) -> str:
    """One of pydantic's complaints in our words: path, found, expected, choices."""
    path, kind, value = _locate(config, plain, list(problem["loc"]))
    name = ".".join(path)
    code, result = problem["type"], problem["input"]
    if code in ("extra_forbidden", "unexpected_keyword_argument"):
        choices = _keys(kind)
        if isinstance(kind, type) and issubclass(kind, Config) and path[-1] in kind.replaced:
            return f"{name}: there is no such key any more; write {kind.replaced[path[-1]]}"
        hint = did_you_mean(path[-1], choices)
        return f"{name}: no such key{hint} (known here: {', '.join(choices)})"
    if code in ("union_tag_invalid", "union_tag_not_found"):
        choices = list(members(kind.family)) if isinstance(kind, type) and issubclass(kind, Family) else []
        tag = result.get("type") if isinstance(result, Mapping) else result
        if isinstance(kind, type) and issubclass(kind, Family) and str(tag) in kind.replaced:
            return f"{name}: there is no {kind.family} {tag!r} any more; write {kind.replaced[str(tag)]}"
        hint = did_you_mean(str(tag), choices)
        what = "no type given" if code == "union_tag_not_found" else f"no {kind.family} is named {shortened(tag)}{hint}"
        where = f"{name}: " if name else ""
        return f"{where}{what} (choose from: {', '.join(choices)})"
    if code in ("missing", "missing_argument"):
        return f"{name}: is missing, and has no default"
    message = problem["msg"]
    context = problem.get("ctx", {})
    if "error" in context:  # our own ValueError raised in a __post_init__
        message = str(context["error"])
    return f"{name or type(value).__name__}: found {shortened(result)}; {message[:1].lower()}{message[1:]}"


def _locate(config: Any, plain: Any, location: list[Any]) -> tuple[list[str], Any, Any]:
    """Follows pydantic's location, which also names union branches, to (path of keys, config class there, value)."""
    path: list[str] = []
    kind: Any = config
    value = plain
    for depth, step in enumerate(location):
        last = depth == len(location) - 1
        if isinstance(kind, type) and issubclass(kind, Family):
            choices = members(kind.family)
            # Before the keys: a member's type may have the name of a key in it.
            if step in choices and kind not in choices.values():
                kind = choices[step]
                continue
        in_list = isinstance(value, (list, tuple)) and isinstance(step, int) and step < len(value)
        if in_list or (isinstance(value, Mapping) and step in value):
            value = value[step]
        elif step not in _keys(kind) and not (last and isinstance(value, Mapping)):
            continue  # the name of a union's branch
        path.append(str(step))
        if not last or step in _keys(kind) or typing.get_args(kind):
            kind = _kind_below(kind, step)
    return path, kind, value


def _kind_below(kind: Any, step: Any) -> Any:
    """The annotation of what stands at key `step` of something annotated `kind`, unwrapped to a class if it can be."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        below = typing.get_type_hints(kind).get(step, object)
    else:
        arguments = typing.get_args(kind)
        below = arguments[-1] if arguments and arguments[-1] is not Ellipsis else arguments[0] if arguments else object
    while typing.get_origin(below) in (typing.Union, types.UnionType):
        options = [option for option in typing.get_args(below) if option is not type(None)]
        chosen = [option for option in options if dataclasses.is_dataclass(option) or typing.get_args(option)]
        below = chosen[0] if chosen else options[0]
    return below


def field_comments(config: Any) -> dict[str, str]:
    """Per dotted path of a config's fields, their text in the docstrings, for a commented YAML file.

    A class that comes again (two columns of one modality) is commented where it first stands.
    """
    comments: dict[str, str] = {}
    _collect_comments(config, "", comments, set())
    return comments


def _collect_comments(config: Any, path: str, comments: dict[str, str], visited: set[type]) -> None:
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        texts: dict[str, str] = {}
        if isinstance(config, Config) and type(config) not in visited:
            texts = describe(type(config))[1]
        visited.add(type(config))
        for field in dataclasses.fields(config):
            here = f"{path}.{field.name}" if path else field.name
            if field.name in texts:
                comments[here] = texts[field.name]
            _collect_comments(getattr(config, field.name), here, comments, visited)
    elif isinstance(config, Mapping):
        for key, value in config.items():
            _collect_comments(value, f"{path}.{key}", comments, visited)
