"""What a release is made of: wheel and sdist, their trial, notes, and the list of components."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
