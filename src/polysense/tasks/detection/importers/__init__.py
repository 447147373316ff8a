"""Formats of annotated images that are read as tables."""
