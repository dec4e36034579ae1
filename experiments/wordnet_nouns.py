"""Choose the nouns of `fused_clip/assets/nouns/nouns.txt` from WordNet 3.0.

``python -m experiments.wordnet_nouns FOLDER > nouns.txt``, where FOLDER is ``/usr/share/wordnet``, which
Debian's package ``wordnet-base`` installs.
"""

import argparse
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

WORDS = 5000
# Lexicographer files of what a photo shows; people are few, for WordNet's words for them are often unkind.
THINGS = {"05": 0, "06": 0, "13": 0, "17": 0, "20": 0, "18": 20}  # least count in the tagged corpus
UNKIND = re.compile(r"offensive|derogat|disparag|slang|slur|obscene|vulgar|pejorative|contempt")
_PARTS = ("noun", "verb", "adj", "adv")


class Synset(NamedTuple):
    """A set of synonyms.

    Parameters
    ----------
    lexicon : number of its lexicographer file.
    words : with their capitals.
    gloss : definition and examples.
    """

    lexicon: str
    words: list[str]
    gloss: str


def nouns(folder: Path) -> list[str]:
    """Choose the most frequent single words whose first sense is a thing, in alphabetical order.

    Frequency is the count in the tagged corpus plus the count in the definitions of all words: the corpus is
    small. Left out are names, words that are more often no nouns, and unkind ones.

    Parameters
    ----------
    folder : WordNet's database.
    """
    tagged, defined = _tagged(folder), Counter[str]()
    synsets: dict[str, Synset] = {}
    for part in _PARTS:
        for number, synset in _synsets(folder / f"data.{part}"):
            defined.update(re.findall(r"[a-z]+", synset.gloss.lower()))
            if part == "noun":
                synsets[number] = synset
    counts: Counter[str] = Counter()
    for line in _lines(folder / "index.noun"):
        word, _, senses, *rest = line.split()
        first = synsets[rest[-int(senses)]]
        as_noun = tagged[word, "1"]
        other = max(tagged[word, kind] for kind in "2345")
        plain = re.fullmatch("[a-z]{3,}", word) and word in first.words and not UNKIND.search(first.gloss)
        if plain and as_noun >= max(other, THINGS.get(first.lexicon, 10**9)):
            counts[word] = as_noun + defined[word] + defined[f"{word}s"]
    return sorted(sorted(counts, key=lambda word: (-counts[word], word))[:WORDS])


def _tagged(folder: Path) -> Counter[tuple[str, str]]:
    """Count of each word as each part of speech in the tagged corpus."""
    counts: Counter[tuple[str, str]] = Counter()
    for line in _lines(folder / "cntlist.rev"):
        key, _, count = line.split()
        word, _, sense = key.partition("%")
        counts[word, sense[0]] += int(count)
    return counts


def _synsets(path: Path) -> Iterator[tuple[str, Synset]]:
    for line in _lines(path):
        head, _, gloss = line.partition("|")
        number, lexicon, _, count, *rest = head.split()
        yield number, Synset(lexicon, rest[: 2 * int(count, 16) : 2], gloss)


def _lines(path: Path) -> Iterator[str]:
    """Lines of a file of the database, without the licence at its start."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("  "):
            yield line


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    print("\n".join(nouns(parser.parse_args().folder)))
