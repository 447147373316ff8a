"""Where cells are decoded: processes of this machine, or a cluster."""
