"""Regression: one number or several."""
