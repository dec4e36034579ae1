"""Counts of the attacks, and the reasons for mutants that live: docs/reliability.md shows both."""
