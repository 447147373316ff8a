"""Configs: frozen dataclasses above the classes they build, `type:` families, YAML, overrides.

There is no second schema tree: YAML is the serialised form of the Python objects, and pydantic only reads it at the
edge.
"""
