"""Files that predicted instances are written to."""
