"""Predicted masks as pictures."""
