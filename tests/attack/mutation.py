"""Valid contents, damaged in ways that keep some of their structure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import deepcopy
from random import Random
from typing import Any

LARGEST = 1 << 18  # bytes of an input

_NUMBER = re.compile(rb"-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?")
_PIECE = re.compile(rb"[\w./\\ -]+|[^\w./\\ -]")
_NUMBERS = [b"1" * 5_000]
_NUMBERS += (
    b"0 -1 1 -0.0 1e999 -1e999 1e-999 NaN Infinity nan inf 0x10 1_000 \xd9\xa1 1:60:60 2001-13-45 2147483648"
    b" -2147483649 4294967296 9223372036854775808 18446744073709551616 99999999999999999999999999"
).split()
_BOMB = [b"%c: &%c [%s]\n" % (n, n, b",".join([b"*%c" % (n - 1)] * 9)) for n in range(98, 110)]
_WORDS = [
    *b'null true ~ ??? [] {} [[]] "" "\\ud800" "\\u0000" \\ \' \xff \xff\xfe \xef\xbb\xbf \xcc\x81'.split(),
    *b', ; " = : # ${a} ${oc.env:HOME} ${hydra:x} @ + ~a { {:>999999999} {a.b} %s .. ../../x /'.split(),
    *b"/dev/null|*a|!!python/name:os.system|!!omap|&a [*a]|<<: *a|<<: [1]|? [a]|!!binary x|!!set {a}".split(
        b"|"
    ),
    *b"!!int x|!!timestamp x|!!float x|!!bool x|%YAML 9.9\n---\n|---\n|...\n|: |- ||\0|\t|\n|\r|\r\n".split(
        b"|"
    ),
    *b"\x0b|\x1c|\xc2\x85|\xe2\x80\xa8".split(b"|"),
    b"a: &a [x]\n" + b"".join(_BOMB),
    *[b"[" * 3_000, b"{" * 3_000, b"(" * 300, b"- " * 3_000, b"a" * 70_000, b"a," * 40_000, b'{"a":' * 3_000],
]
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
            node[key] = deepcopy(random.choice(_VALUES))  # the tree may be changed again
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
    byte = random.choice([0, 1, 127, 128, 255, random.randrange(256)])
    return content[:start] + bytes([byte] * (end - start)) + content[end:]


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
