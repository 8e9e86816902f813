import json
from itertools import combinations, permutations

import pytest

from eval.world.colours import NAMES
from eval.world.tasks import DIRECTIONS, TASKS
from eval.world.vocabulary import Entry, Vocabulary, article, entry, listed, plural, rank, table, turned

KINDS = set(table()["kinds"])


def test_no_name_of_the_table_is_part_of_another():
    names = list(listed())
    assert len(names) == sum(map(len, table()["kinds"].values()))
    assert not set(names) & set(NAMES)
    for one, other in permutations(names, 2):
        assert f" {one} " not in f" {other} "
    labels = [label for _, label in listed().values()]
    assert len(set(labels)) == len(labels)


def test_the_table_speaks_of_what_it_has():
    known = KINDS | set(listed())
    for part in ("uses", "domains"):
        for users in table()[part].values():
            assert set(users) <= known
    assert set().union(*map(set, table()["overlaps"])) <= KINDS | set(table()["uses"])
    assert set(table()["plurals"]) <= set(listed())
    tags = [tag for listed_ in table()["spheres"].values() for tag in listed_]
    assert len(set(tags)) == len(tags)
    users = [user for users in table()["uses"].values() for user in users]
    assert len(set(users)) == len(users)


def test_words_to_be_written_are_no_objects():
    words = table()["words"].split()
    assert len(set(words)) == len(words) > 150
    assert not set(words) & {*listed(), *KINDS, *NAMES, *turned("spheres")}
    assert all(word.isalpha() and word.islower() and 4 <= len(word) <= 6 for word in words)
    assert not set(words) & {plural(name) for name in listed()}
    wordings = [wording for task in TASKS.values() for wording in (*task.wordings, *DIRECTIONS)]
    assert not set(words) & {word.strip("?,") for wording in wordings for word in wording.lower().split()}


@pytest.mark.parametrize(
    ("name", "several", "one"),
    [
        ("cat", "cats", "a cat"),
        ("bus", "buses", "a bus"),
        ("fly", "flies", "a fly"),
        ("monkey", "monkeys", "a monkey"),
        ("mouse", "mice", "a mouse"),
        ("axe", "axes", "an axe"),
        ("unicorn", "unicorns", "a unicorn"),
        ("umbrella", "umbrellas", "an umbrella"),
        ("church", "churches", "a church"),
    ],
)
def test_plurals_and_articles(name, several, one):
    assert plural(name) == several
    assert article(name) == one


@pytest.fixture
def words():
    entries = {
        "apple": Entry("fruit", "eating", ("pie",)),
        "carrot": Entry("vegetable", "eating", ("farm",)),
        "cow": Entry("mammal", "", ("farm", "moo")),
        "whale": Entry("sea animal", "", ("sea",)),
        "milk jug": Entry("other", "", ("home",)),
    }
    overlaps = (
        frozenset({"fruit", "vegetable"}),
        frozenset({"vegetable", "meal"}),
        frozenset({"mammal", "sea animal"}),
    )
    spheres = {"pie": "kitchen", "farm": "nature", "moo": "nature", "sea": "sea", "home": "home", "milk": "kitchen"}
    return Vocabulary(entries, overlaps, spheres, {"mammal": "animal", "sea animal": "animal", "fruit": "growth"})


def test_what_something_may_be_as_well(words):
    kinds = {"fruit", "vegetable", "meal", "mammal"}
    assert words.alike("fruit", kinds) == {"fruit", "vegetable"}
    assert words.alike("vegetable", kinds) == {"fruit", "vegetable", "meal"}
    assert words.alike("tool", kinds) == set()
    assert words.family("fruit") == words.family("meal") == "fruit"
    assert words.family("tool") == ""


def test_tags_that_may_be_true(words):
    assert words.fitting("cow") == {"farm", "moo", "sea"}  # whales are of the domain, and what they have to do with
    assert words.fitting("apple") == {"pie", "milk"}
    assert words.fitting("milk jug") == {"home", "milk"}
    assert words.fitting("carrot") == {"farm", "moo"}


def test_a_vocabulary_is_read_as_written(words):
    assert Vocabulary.from_json(json.loads(json.dumps(words.to_json()))) == words


def test_an_entry_has_the_tags_that_are_listed_and_not_in_its_name():
    assert entry("saw", "tool", ["carpenter", "tool", "lumber"]) == Entry(
        "tool", "building and repairing", ("carpenter",), "saws"
    )
    assert "milk" not in entry("glass of milk", "drink", ["milk"]).tags
    assert entry("bucket", "other", []).use == "carrying things"
    assert set(turned("spheres").values()) == set(table()["spheres"])


def test_the_order_of_names_follows_from_the_seed():
    names = list(listed())[:30]
    orders = [tuple(sorted(names, key=lambda name, seed=seed: rank(seed, name))) for seed in range(4)]
    assert all(one != other for one, other in combinations(orders, 2))
