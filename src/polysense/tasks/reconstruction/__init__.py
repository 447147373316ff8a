"""Reconstruction: the input columns themselves, from a code."""
