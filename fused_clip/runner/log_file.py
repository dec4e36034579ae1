"""The log file of a run."""

import logging
import sys


class LogFile(logging.FileHandler):
    """A log file that says once that it can't be written, where `logging` would print a traceback a line."""

    _said = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Say why lines are missing, if that was not said before.

        Parameters
        ----------
        record : that could not be written.
        """
        if not self._said:
            self._said = True
            print(f"{self.baseFilename} lacks lines: {sys.exc_info()[1]}", file=sys.stderr)

    def flush(self) -> None:
        """Write the last lines; if that fails, they are missing, and the run goes on."""
        try:
            super().flush()
        except OSError:
            self.handleError(logging.makeLogRecord({}))
