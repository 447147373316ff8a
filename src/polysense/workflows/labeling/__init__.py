"""Labeling: which rows are worth a label, and what that saves."""
