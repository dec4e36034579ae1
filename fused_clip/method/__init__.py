"""The parts of the method, one module for each config group."""
