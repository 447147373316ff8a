"""Video: frames and a sound track."""
