import json

import pytest
from toy_experiment import forked, varied

from presight.errors import PresightError
from presight.stage import FrozenMap, Labelled
from pretrain import Search
from pretrain.search import chosen, final_bits


def runs(tiny, rates, **fields):
    stages = [varied(tiny.train, learning_rate=rate, **fields) for rate in rates]
    return tuple(Labelled(FrozenMap({"rate": str(stage.learning_rate)}), stage) for stage in stages)


def heldout(folder, *lines):
    folder.mkdir()
    keys = ("step", "source", "bits_per_byte")
    (folder / "heldout.jsonl").write_text(
        "".join(json.dumps(dict(zip(keys, line, strict=True))) + "\n" for line in lines)
    )
    return folder


def test_the_rate_of_the_lowest_final_loss_is_chosen(tiny, tmp_path):
    """By the mean over sources at the last step; what stood lower before does not count."""
    finals = {0.002: (3.0, 2.0), 0.004: (2.0, 2.4), 0.001: (1.5, 4.0)}
    inputs = {
        f"runs[{index}]": heldout(
            tmp_path / str(index), (0, "web", 0.1), (0, "code", 0.1), (9, "web", a), (9, "code", b)
        )
        for index, (a, b) in enumerate(finals.values())
    }
    stage = Search(runs=runs(tiny, finals))
    stage.run(tmp_path, inputs)
    found = json.loads((tmp_path / "rate.json").read_text())
    assert found["learning_rate"] == 0.004
    assert found["edge"] is True
    assert [point["learning_rate"] for point in found["curve"]] == [0.001, 0.002, 0.004]
    assert [point["bits_per_byte"] for point in found["curve"]] == pytest.approx([2.75, 2.5, 2.2])
    assert chosen(stage, {"learning_rate": tmp_path}) == 0.004
    assert chosen(0.5, {}) == 0.5


def test_a_choice_in_the_middle_is_no_edge(tiny, tmp_path):
    inputs = {f"runs[{i}]": heldout(tmp_path / str(i), (9, "web", loss)) for i, loss in enumerate((3.0, 2.0, 2.5))}
    Search(runs=runs(tiny, (0.001, 0.002, 0.004))).run(tmp_path, inputs)
    found = json.loads((tmp_path / "rate.json").read_text())
    assert (found["learning_rate"], found["edge"]) == (0.002, False)


def test_what_is_no_search_is_one_sentence(tiny, tmp_path):
    one = runs(tiny, (0.001,))
    both = runs(tiny, (0.001, 0.002))
    other = runs(tiny, (0.004,), seed=1)
    for given, words in (
        (one, "runs: 1 leaves nothing to choose from"),
        ((*both, *other), "runs: runs differ in more than their learning rate"),
        ((*both, *both), "runs: one learning rate is given twice"),
        (runs(tiny, (Search(runs=both), 0.001)), "runs: not every run has a learning rate of its own"),
    ):
        with pytest.raises(PresightError, match=words):
            Search(runs=given).run(tmp_path, {})
    with pytest.raises(PresightError, match="has no held-out loss"):
        final_bits(tmp_path)


def test_a_run_that_ends_in_no_number_is_no_candidate(tiny, tmp_path):
    inputs = {f"runs[{i}]": heldout(tmp_path / str(i), (9, "web", loss)) for i, loss in enumerate((float("nan"), 2.0))}
    with pytest.raises(PresightError, match="ends at nan; leave that run out: it diverged"):
        Search(runs=runs(tiny, (0.001, 0.002))).run(tmp_path, inputs)


def test_a_run_at_the_chosen_rate_is_the_run_at_that_rate(tiny, lm, tmp_path):
    candidates = runs(tiny, (0.003, 0.0001))
    search = Search(runs=candidates)
    last = varied(tiny.train, learning_rate=search)
    jobs = [each.stage for each in candidates[1:]] + [search, last]
    done = forked(*((tiny.store, stage) for stage in jobs))
    assert done.returncode == 0, done.stderr
    assert json.loads((tiny.store.path(search) / "rate.json").read_text())["learning_rate"] == 0.003
    again = tiny.store.path(last)
    assert (again / "metrics.jsonl").read_bytes() == (lm / "metrics.jsonl").read_bytes()
    assert last.fingerprint != tiny.train.fingerprint
