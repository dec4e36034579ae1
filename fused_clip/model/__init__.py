"""The model that a run leaves: saved as data, loaded, constrained and asked."""
