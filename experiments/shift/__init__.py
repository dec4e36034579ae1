"""How often the test of shift withdraws a guarantee, and what coverage was left."""
