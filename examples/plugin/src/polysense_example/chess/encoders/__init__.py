"""Encoders of chess positions."""
