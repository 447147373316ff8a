"""Configs: frozen dataclasses above the classes they build, `type:` families, YAML, overrides.

There is no second schema tree: YAML is the serialized form of the Python objects, and pydantic only reads it at the
edge.
"""
