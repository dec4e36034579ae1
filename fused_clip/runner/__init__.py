"""Runs of the method: options, one cell, a sweep of cells, and what they leave."""
