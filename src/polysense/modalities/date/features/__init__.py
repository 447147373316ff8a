"""One file per kind of features: numbers about a cell that need no weights."""
