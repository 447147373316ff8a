"""Encoders of a video's frames together."""
