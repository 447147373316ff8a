"""One file per command. Each imports what it runs inside its function, so `--help` loads neither torch nor tables."""
