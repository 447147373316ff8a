"""Heads of instance segmentation."""
