"""Valid contents, damaged in ways that keep some of their structure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any

LARGEST = 1 << 18  # bytes of an input

_NUMBER = re.compile(rb"-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?")
_PIECE = re.compile(rb"[\w./\\ -]+|[^\w./\\ -]")
_NUMBERS = [
    *(
        b"0",
        b"-1",
        b"1",
        b"-0.0",
        b"1e999",
        b"-1e999",
        b"1e-999",
        b"NaN",
        b"Infinity",
        b"nan",
        b"inf",
        b"0x10",
    ),
    *(b"2147483648", b"-2147483649", b"4294967296", b"9223372036854775808", b"18446744073709551616"),
    *(b"99999999999999999999999999", b"1" * 5_000, b"1_000", b"\xd9\xa1", b"1:60:60", b"2001-13-45"),
]
_WORDS = [
    *(b"", b"null", b"true", b"~", b"???", b"[]", b"{}", b"[[]]", b'""', b'"\\ud800"', b'"\\u0000"', b"\\", b"'"),
    *(b"\0", b"\n", b"\r", b"\r\n", b"\x0b", b"\x1c", b"\xc2\x85", b"\xe2\x80\xa8", b"\xff", b"\xff\xfe", b"\xef\xbb\xbf"),
    *(b",", b";", b"\t", b'"', b"=", b":", b": ", b"- ", b"# ", b"${a}", b"${oc.env:HOME}", b"${hydra:x}", b"@", b"+", b"~a"),
    *(b"{}", b"{", b"{:>999999999}", b"{a.b}", b"%s", b"..", b"../../x", b"/", b"/dev/null", b"file:///x", b"\xcc\x81"),
    *(b"&a [*a]", b"*a", b"<<: *a", b"<<: [1]", b"? [a]", b"!!python/name:os.system", b"!!binary x", b"!!set {a}"),
    *(b"!!int x", b"!!timestamp x", b"!!float x", b"!!bool x", b"!!omap [1]", b"%YAML 9.9\n---\n", b"---\n", b"...\n"),
    *(b"[" * 3_000, b"{" * 3_000, b"(" * 300, b"- " * 3_000, b"a" * 70_000, b"a," * 40_000, b'{"a":' * 3_000),
    b"a: &a [x]\n" + b"".join(b"%c: &%c [%s]\n" % (n, n, b",".join([b"*%c" % (n - 1)] * 9)) for n in range(98, 110)),
]  # fmt: skip
_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 1.5, -0.0, 2**31, 2**63, 2**64, -(2**63), 10**30, 10**400, 1e308),
    *(float("nan"), float("inf"), "", "x", " ", "\0", "\ud800", "..", "/", "../x", "a" * 70_000, "9" * 5_000),
    *([], {}, [[]], [None], {"": None}, [1, "a"], {"a": {"a": {}}}, "NaN", "1", ["x"] * 1_000),
]


def mutated(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Change a content one to six times.

    Parameters
    ----------
    content : valid.
    others : contents that pieces may come from.
    random : decides everything.
    """
    if random.randrange(2):
        with suppress(ValueError, RecursionError):
            content = _changed_json(json.loads(content), random)
    for _ in range(random.randrange(6)):
        content = random.choice(_EDITS)(content, others, random)[:LARGEST]
    return content


def _changed_json(tree: Any, random: Random) -> bytes:
    """A tree with nodes replaced, dropped or exchanged."""
    for _ in range(random.randrange(1, 4)):
        places = list(_places(tree))
        if not places:
            break
        node, key = random.choice(places)
        kind = random.randrange(5)
        if kind == 0:
            del node[key]
        elif kind == 1:
            other, its = random.choice(places)
            with suppress(LookupError):  # the place may be gone or inside the other
                node[key], other[its] = other[its], node[key]
                json.dumps(tree)
        elif kind == 2 and isinstance(node, dict):
            node[random.choice(["", "x", "\0", "\ud800", "1", str(random.choice(places)[1])])] = node.pop(key)
        else:
            node[key] = random.choice(_VALUES)
    try:
        return json.dumps(tree, ensure_ascii=bool(random.randrange(2))).encode("utf-8", "surrogatepass")
    except ValueError:  # a circle, by an exchange
        return b"{}"


def _places(tree: Any) -> Any:
    keys = list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        yield tree, key
        yield from _places(tree[key])


def _range(content: bytes, random: Random) -> tuple[int, int]:
    start = random.randrange(len(content) + 1)
    return start, min(len(content), start + random.choice([0, 1, 2, 4, 8, random.randrange(256)]))


def _flip(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    if not content:
        return content
    place = random.randrange(len(content))
    return content[:place] + bytes([content[place] ^ (1 << random.randrange(8))]) + content[place + 1 :]


def _set(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    start, end = _range(content, random)
    return content[:start] + bytes([random.choice([0, 1, 127, 128, 255, random.randrange(256)])] * (end - start)) + content[end:]  # fmt: skip


def _cut(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    start, end = _range(content, random)
    return content[:start] + content[end:]


def _end(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    return content[: random.randrange(len(content) + 1)]


def _insert(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    start, end = _range(content, random)
    return content[:start] + random.choice(_WORDS) + content[random.choice([start, end]) :]


def _whole(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    return random.choice(_WORDS)


def _repeat(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    start, end = _range(content, random)
    return content[:end] + content[start:end] * random.choice([1, 2, 100, 10_000]) + content[end:]


def _splice(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    other = random.choice(others)
    return content[: random.randrange(len(content) + 1)] + other[random.randrange(len(other) + 1) :]


def _piece(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Put a piece of another content in the place of one."""
    other = random.choice(others)
    (start, end), (low, high) = _range(content, random), _range(other, random)
    return content[:start] + other[low:high] + content[end:]


def _number(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    found = list(_NUMBER.finditer(content))
    if not found:
        return content
    match = random.choice(found)
    return content[: match.start()] + random.choice(_NUMBERS) + content[match.end() :]


def _word(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Exchange a word for another, or for an odd one."""
    found = list(_PIECE.finditer(content))
    if not found:
        return content
    match, other = random.choice(found), random.choice(found)
    word = random.choice([other[0], random.choice(_WORDS)])
    return content[: match.start()] + word + content[match.end() :]


def _integer(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Write an extreme number of a fixed size."""
    size = random.choice([1, 2, 4, 8])
    start = random.randrange(len(content) + 1)
    number = random.choice([0, 1, -1, 2 ** (8 * size - 1) - 1, -(2 ** (8 * size - 1)), random.randrange(100)])
    written = number.to_bytes(size, random.choice(["little", "big"]), signed=True)  # type: ignore[arg-type]
    return content[:start] + written + content[start + size :]


_EDITS: list[Callable[[bytes, Sequence[bytes], Random], bytes]] = [
    *(_flip, _set, _whole, _cut, _end, _insert, _repeat, _splice, _piece, _number, _word, _integer),
]
