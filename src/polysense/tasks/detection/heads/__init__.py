"""Heads of detection."""
