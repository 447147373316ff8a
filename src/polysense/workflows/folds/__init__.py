"""Out-of-fold evaluation: every row is judged by a model that has not seen it, and all rows train the one delivered."""
