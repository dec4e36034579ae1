"""What the engine costs, side by side with its peers: `python -m experiments.benchmarks`."""
