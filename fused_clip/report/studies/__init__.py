"""Pages of the project's own studies."""
