"""Predicted boxes in the formats of others."""
