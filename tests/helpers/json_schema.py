"""Whether plain values follow a JSON schema."""

from __future__ import annotations

from typing import Any


def check_by_schema(value: Any, schema: Any, whole: Any = None, where: str = "") -> None:
    """Asserts that a value follows a JSON schema, by those keywords that ours use."""
    whole = schema if whole is None else whole
    if "$ref" in schema:
        schema = whole["$defs"][schema["$ref"].rpartition("/")[2]]
    kinds: dict[str, Any] = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
        "null": type(None),
    }
    if "type" in schema:
        allowed = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        assert any(isinstance(value, kinds[kind]) for kind in allowed), f"{where}: {value!r} is no {allowed}"
    assert "enum" not in schema or value in schema["enum"], f"{where}: {value!r}"
    assert "const" not in schema or value == schema["const"], f"{where}: {value!r}"
    if isinstance(value, dict):
        missing = set(schema.get("required", ())) - set(value)
        assert not missing, f"{where}: lacks {missing}"
        for name, entry in value.items():
            own = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            if own is not None:
                check_by_schema(entry, own, whole, f"{where}.{name}")
    if isinstance(value, list) and "items" in schema:
        for i, entry in enumerate(value):
            check_by_schema(entry, schema["items"], whole, f"{where}[{i}]")
