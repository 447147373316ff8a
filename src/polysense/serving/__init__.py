"""Servers of pages on this machine; they are imported when one is started, since they need the extra `serve`."""
