"""Rows into batches: which rows make a step, how they are read ahead, and made rectangular."""
