"""Which classes may stand beside each other: by WordNet's senses, the annotation's own words, and a file of sets."""

import pytest

from eval.vision.vocabulary import Nouns, Vocabulary, groups
from presight.errors import PresightError

# a small WordNet: number, file, type, words with their ids, pointers; an artefact above seat and vehicle, a frank dog
DATA = """  1 a licence, which is no noun
00000001 03 n 01 thing 0 000 | anything
00000002 06 n 01 seat 0 001 @ 00000001 n 0000 | to sit on
00000003 06 n 02 sofa 0 couch 0 001 @ 00000002 n 0000 | for more than one
00000004 06 n 02 car 0 auto 0 002 @ 00000001 n 0000 %p 00000005 n 0000 | on wheels
00000005 06 n 01 wheel 0 001 @ 00000001 n 0000 | round
00000006 05 n 01 dog 0 001 @ 00000001 n 0000 | barks
00000007 13 n 02 frank 0 dog 1 001 @ 00000008 n 0000 | to eat
00000008 13 n 01 sausage 0 001 @ 00000001 n 0000 | to eat
00000009 06 n 01 sports_car 0 001 @i 00000004 n 0000 | fast
00000010 18 n 02 guy 0 cat 1 001 @ 00000011 n 0000 | a man
00000011 18 n 01 person 0 001 @ 00000001 n 0000 | someone
00000012 05 n 01 cat 0 001 @ 00000001 n 0000 | meows
"""
INDEX = """  1 a licence
thing n 1 0 1 1 00000001
seat n 1 1 @ 1 1 00000002
sofa n 1 1 @ 1 1 00000003
couch n 1 1 @ 1 1 00000003
car n 1 2 @ %p 1 1 00000004
auto n 1 2 @ %p 1 1 00000004
wheel n 1 1 @ 1 1 00000005
dog n 2 1 @ 2 1 00000006 00000007
frank n 1 1 @ 1 1 00000007
sausage n 1 1 @ 1 1 00000008
sports_car n 1 1 @ 1 1 00000009
person n 1 1 @ 1 1 00000011
cat n 2 1 @ 2 1 00000012 00000010
"""


@pytest.fixture(scope="module")
def nouns():
    return Nouns.read(DATA.encode("latin1"), INDEX.encode("latin1"))


@pytest.mark.parametrize(
    ("first", "second", "related"),
    [
        ("sofa", "couch", True),  # names of one thing
        ("sofa", "seat", True),  # a kind of it
        ("sports car", "car", True),
        ("wheel", "sports-car", True),  # a part of what it is a kind of
        ("Sofas", "seat", True),  # plural
        ("leather sofa", "seat", True),  # an unknown compound is what its last word is
        ("dog", "frank", True),  # names of one thing in a usual sense
        ("cat", "person", False),  # by a rare sense alone
        ("sofa", "car", False),
        ("sofa", "wheel", False),
        ("gizmo", "sofa", False),  # unknown
    ],
)
def test_wordnet_relates(nouns, first, second, related):
    assert nouns.related(first, second) is related
    assert nouns.related(second, first) is related


def test_damaged_files_are_told():
    with pytest.raises(PresightError, match="its nouns cannot be read"):
        Nouns.read(b"00000001 03 n zz thing 0 000 | x", b"")


def test_absent_are_neither_there_nor_alike(nouns):
    words = {"door": frozenset({"double door"}), "double door": frozenset(), "sofa": frozenset()}
    words |= {"seat": frozenset(), "television": frozenset(), "screen": frozenset(), "dog": frozenset()}
    vocabulary = Vocabulary(words, (frozenset({"television", "screen"}),), nouns)
    assert vocabulary.absent(["door"]) == ["sofa", "seat", "television", "screen", "dog"]
    assert vocabulary.absent(["sofa", "Television"]) == ["door", "double door", "dog"]
    assert Vocabulary(words).absent(["sofa"]) == [name for name in words if name != "sofa"]
    assert vocabulary.alike("sofa", "sofa")
    for one in words:
        for other in words:
            assert vocabulary.alike(one, other) == vocabulary.alike(other, one)


def test_sets_of_words_from_a_file(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("# mine\nTV, television set , screen # all of them\n\nsofa,couch\n")
    assert groups(path) == (frozenset({"tv", "television set", "screen"}), frozenset({"sofa", "couch"}))
    path.write_text("sofa\n")
    with pytest.raises(PresightError, match=r"line 1: one word alone"):
        groups(path)
    with pytest.raises(PresightError, match="cannot be read"):
        groups(tmp_path / "nowhere.txt")
