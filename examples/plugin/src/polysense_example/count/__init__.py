"""Counts as a task."""
