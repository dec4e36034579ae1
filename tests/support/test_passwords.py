"""Addresses with a password are refused, without showing it."""

import pytest

from fused_clip.support.errors import InputError
from fused_clip.support.passwords import check_secret


@pytest.mark.parametrize(
    "uri",
    [
        "http://me:s3cret@host:5000/a",
        "https://me:s3cret@host",
        "http://me:s3/cret@host:5000",
        "postgresql://me:s3cret@host/runs",
        "postgresql+psycopg2://me:s3@cret/@host:5432/runs?x=1",
        "postgresql://host/runs?user=me&password=s3cret&x=1",
        "mysql+pymysql://me:s3?cret@host/runs",
        "postgresql://me:12345@s3cret@host/runs",
    ],
)
def test_an_address_with_a_password_is_refused_and_not_shown(uri: str) -> None:
    with pytest.raises(InputError, match=r"^tracking.uri: must not contain a password") as told:
        check_secret("tracking.uri", uri)
    assert not [part for part in ("s3", "cret", "12345") if part in str(told.value)]
    assert "host" in str(told.value)
    assert "~/.pgpass" in str(told.value)


@pytest.mark.parametrize(
    "uri",
    [
        None,
        "",
        "sqlite:////home/a:b/c@d/runs.db",
        "http://host:5000",
        "http://host:5000/a@b",
        "http://me@host:5000",
        "postgresql://me@host:5432/runs?options=a@b",
        "databricks://profile:scope",
        "./runs",
    ],
)
def test_any_other_address_is_none_of_its_business(uri: str | None) -> None:
    check_secret("tracking.uri", uri)
