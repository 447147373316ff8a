"""Strategies that choose the rows to label next; one file each."""
