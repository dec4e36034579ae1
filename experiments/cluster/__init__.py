"""Real clusters on this machine (Slurm, Ray, PostgreSQL), and what faults do to sweeps on them."""
