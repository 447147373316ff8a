"""One folder per modality: everything particular to it. Found by `core.registry`, imported by name nowhere else."""
