"""Cells as values: numbers in their column's notation, categories and classes of one spelling, plain Python cells."""
