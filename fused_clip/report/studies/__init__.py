"""The project's own studies: what their runs say, as pages of a report."""
