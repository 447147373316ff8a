"""Tagging: labeled segments of a column."""
