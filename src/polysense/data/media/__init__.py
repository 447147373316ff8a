"""Files that cells name: which may be read, what they hold, and pictures as arrays."""
