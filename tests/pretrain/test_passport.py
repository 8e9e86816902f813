import json

import pytest
from toy_experiment import beside

from presight.errors import PresightError
from pretrain import Passport, comparable

A, B, C = (f"ranks={n}/accumulation=1/fp32/zero=1" for n in (1, 2, 4))
HERE = "x86_64/cpu/threads=1/"


@pytest.mark.parametrize(
    ("found", "same"),
    [
        (set(), True),
        ({HERE + C}, True),
        ({HERE + A, HERE + B}, True),
        ({HERE + A, HERE + C}, False),
        ({HERE + A, "x86_64/cpu/threads=2/" + B}, False),
        ({HERE + A, HERE + A + "/compiled"}, False),
    ],
)
def test_ways_of_one_class_on_one_kind_of_machine_may_be_compared(found, same):
    assert comparable({"classes": [[C], [A, B]]}, found) is same


def test_without_a_passport_only_the_very_same_way_may_be():
    assert comparable(None, {HERE + A})
    assert not comparable(None, {HERE + A, HERE + B})


def test_canaries_are_sorted_by_what_came_out(tiny, tmp_path):
    """Two ranks add up in the order of two micro-batches: the same bits. One batch in one go: others."""
    stage = Passport(mixture=tiny.mixture, steps=4, zero=(1,), dtypes=("fp32",), ranks=(1, 2), accumulation=(1, 2))
    store = beside(tiny.store, tmp_path, tiny.mixture)
    store.perform(stage)
    found = json.loads((store.path(stage) / "passport.json").read_text())
    names = [f"ranks={n}/accumulation={m}/fp32/zero=1" for n in (1, 2) for m in (1, 2)]
    assert sorted(found["ways"]) == sorted(names)
    assert sorted(name for each in found["classes"] for name in each) == sorted(names)
    together = {name: number for number, each in enumerate(found["classes"]) for name in each}
    assert together[names[1]] == together[names[2]] != together[names[0]]
    for way in found["ways"].values():
        assert len(way["losses"]) == 4
        assert way["distance"] < 1e-6


def test_a_batch_that_cannot_be_cut_is_one_sentence(tiny, tmp_path):
    with pytest.raises(PresightError, match="batch: 2 items cannot be cut into 2 ranks × 2; give a multiple"):
        Passport(mixture=tiny.mixture, batch=2).run(tmp_path, {"mixture": tiny.path(tiny.mixture)})
