"""Classification: one class of several."""
