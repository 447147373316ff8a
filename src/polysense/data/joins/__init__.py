"""Several tables as one: columns of other tables joined to the rows of the main one, by keys."""
