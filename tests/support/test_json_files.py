import pytest

from fused_clip.support.json_files import parse_json, parse_json_object


def test_text_and_bytes_are_read() -> None:
    assert parse_json('[1, "é"]') == parse_json('[1, "é"]'.encode()) == [1, "é"]
    assert parse_json_object(b'{"a": 1}') == {"a": 1}


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000, b"\xff", "1" * 5_000, '{"a"}'], ids=range(6))
def test_all_else_is_refused(content: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  of several kinds
        parse_json(content)


@pytest.mark.parametrize("content", ["[]", "1", "null"])
def test_an_object_is_no_other_value(content: str) -> None:
    with pytest.raises(ValueError, match="must be an object"):
        parse_json_object(content)
