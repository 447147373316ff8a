"""Losses beside those of the targets."""
