"""Many trainings as independent cells: planned, run on local processes or a SLURM cluster, and gone on with."""
