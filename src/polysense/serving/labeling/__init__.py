"""The labeling page: a server on the loopback interface, and its static files."""
