"""Heads of counts."""
