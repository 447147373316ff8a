"""Layers that several components share."""
