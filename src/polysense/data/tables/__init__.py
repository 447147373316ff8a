"""Tables in and out: a reader for each format, within limits of memory, and what is kept of a content."""
