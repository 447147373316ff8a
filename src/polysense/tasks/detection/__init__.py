"""Detection: boxes with labels, in an image column."""
