"""Addresses with a password, which would be written to files and logs."""

import re

from fused_clip.support.errors import InputError

# A password may have any character: SQLAlchemy asks for %2F in place of a slash, and people forget it.
_USER = re.compile(r"^((?!sqlite|file:)[^/:]+://[^/@?#:]*:)(?!\d+([/?#]|$)).*@", re.DOTALL)
_PASSWORD = re.compile(r"([?&](?:password|passwd|sslpassword|token)=)[^&]+", re.IGNORECASE)
_HINT = (
    "PostgreSQL reads it from ~/.pgpass or PGPASSWORD; MLflow's client of a server from "
    "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
)


def check_secret(option: str, uri: object) -> None:
    """Refuse an address with a password, which would be in the files, logs and tags of every run.

    Parameters
    ----------
    option : that has it.
    uri : as configured, before its type is checked.

    Raises
    ------
    InputError
        If it has one; the message does not show it.
    """
    text = str(uri or "")
    shown = _PASSWORD.sub(r"\1***", _USER.sub(r"\1***@", text))
    if shown != text:
        rule = "must not contain a password, which would be written to the files of every run"
        raise InputError(option, rule, shown, hint=_HINT)
