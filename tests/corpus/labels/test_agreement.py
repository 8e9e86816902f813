import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.labels.agreement import agreement, merge
from corpus.labels.taxonomy import Taxonomy
from presight.errors import PresightError

TAXONOMY = Taxonomy.of({"name": "toy", "families": {"see": {"shape": "S", "colour": "C"}, "think": {"proof": "P"}}})
VOTES = st.sets(st.sampled_from(TAXONOMY.labels)).map(sorted)


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def overlap(path, segments):
    return write(path, [{"id": f"{n:016x}", "annotations": votes} for n, votes in enumerate(segments)])


def annotator(folder, labels, **more):
    folder.mkdir()
    rows = [{"id": name, "source": "s", "labels": found, "text": f"text {name}", **more} for name, found in labels]
    write(folder / "annotations.jsonl", rows)
    return folder


def has(votes, name):
    return any(label in votes for label in TAXONOMY.families.get(name, (name,)))


def ratio(part, whole):
    return part / whole if whole else math.nan


def slow_f1_and_agreement(segments, name):
    """Every pair of annotators of every segment, one by one."""
    hits = given_it = same = pairs = 0
    for votes in segments:
        for one, other in itertools.combinations([has(each, name) for each in votes], 2):
            hits += one and other
            given_it += one + other
            same += one == other
            pairs += 1
    return ratio(2 * hits, given_it), same / pairs


def slow_alpha(segments, name):
    """Krippendorff's coincidence matrix."""
    matrix = np.zeros((2, 2))
    for votes in segments:
        values = [int(has(each, name)) for each in votes]
        for one, other in itertools.permutations(range(len(values)), 2):
            matrix[values[one], values[other]] += 1 / (len(values) - 1)
    totals = matrix.sum(axis=0)
    apart, expected = matrix[0, 1] + matrix[1, 0], 2 * totals[0] * totals[1] / (matrix.sum() - 1)
    return 1 - apart / expected if expected else math.nan


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(VOTES, min_size=2, max_size=4), min_size=1, max_size=8))
def test_the_measures_agree_with_counting(tmp_path_factory, segments):
    path = overlap(tmp_path_factory.mktemp("a") / "overlap.jsonl", segments)
    found = agreement([path], TAXONOMY, resamples=20)
    assert [row.name for row in found] == ["shape", "colour", "proof", "see", "think"]
    for row in found:
        assert (row.f1, row.agreement) == pytest.approx(slow_f1_and_agreement(segments, row.name), nan_ok=True)
        assert row.alpha == pytest.approx(slow_alpha(segments, row.name), nan_ok=True)
        assert row.segments == len(segments)
        assert row.positive == sum(2 * sum(has(v, row.name) for v in votes) > len(votes) for votes in segments)


def test_alpha_and_kappa_of_a_worked_example(tmp_path):
    # two annotators, ten texts: both yes 4, both no 3, only the first 2, only the second 1
    yes, no = ["proof"], []
    segments = [[yes, yes]] * 4 + [[no, no]] * 3 + [[yes, no]] * 2 + [[no, yes]]
    row = agreement([overlap(tmp_path / "o", segments)], TAXONOMY, resamples=200)[2]
    assert row.agreement == 0.7
    assert row.f1 == 8 / 11
    assert row.kappa == pytest.approx((0.7 - 0.5) / 0.5)  # 0.6 · 0.5 + 0.4 · 0.5 by chance
    assert row.alpha == pytest.approx(1 - 19 * 3 / (11 * 9))
    assert row.f1_interval[0] < row.f1 < row.f1_interval[1]


def test_intervals_cover(tmp_path):
    """Two annotators who each err one time in ten: about 95 of 100 intervals hold the true agreement."""
    random = np.random.default_rng(0)
    covered = 0
    for trial in range(100):
        truth = random.random((100, 1)) < 0.4
        votes = truth ^ (random.random((100, 2)) < 0.1)
        segments = [[["proof"] if vote else [] for vote in pair] for pair in votes.tolist()]
        row = agreement([overlap(tmp_path / "o", segments)], TAXONOMY, resamples=150, seed=trial)[2]
        covered += row.agreement_interval[0] <= 0.82 <= row.agreement_interval[1]
    assert 88 <= covered <= 99


def test_several_folders_meet_on_what_two_of_them_labelled(tmp_path):
    one = annotator(tmp_path / "one", [("a", ["shape"]), ("b", []), ("c", ["proof"])])
    two = annotator(tmp_path / "two", [("b", []), ("a", ["colour"])])
    three = annotator(tmp_path / "three", [("a", ["shape"]), ("d", ["shape"])])
    found = {row.name: row for row in agreement([one, two / "annotations.jsonl", three], TAXONOMY, resamples=10)}
    assert {row.segments for row in found.values()} == {2}
    assert {row.annotators for row in found.values()} == {3}
    assert found["shape"].agreement == 0.5  # of four pairs: apart, same, apart on a; same on b
    assert found["see"].f1 == found["see"].agreement == 1.0
    assert found["see"].f1_interval == (1.0, 1.0)
    assert math.isnan(found["proof"].f1)
    assert math.isnan(found["proof"].f1_interval[0])


def test_merge_keeps_what_most_say(tmp_path):
    one = annotator(tmp_path / "one", [("a", ["shape"]), ("b", ["shape", "proof"]), ("c", ["proof"])], model="x")
    two = annotator(tmp_path / "two", [("a", ["shape", "colour"]), ("b", ["proof"])], model="y")
    three = annotator(tmp_path / "three", [("a", [])], model="y", prompt="p")
    assert merge([one, two, three], tmp_path / "merged", TAXONOMY) == 3
    rows = [json.loads(line) for line in (tmp_path / "merged" / "annotations.jsonl").read_text().splitlines()]
    assert [(row["id"], row["labels"], row["annotators"], row["model"]) for row in rows] == [
        ("a", ["shape"], 3, "x+y"),
        ("b", ["proof"], 2, "x+y"),  # one of two is not most
        ("c", ["proof"], 1, "x"),
    ]
    assert rows[0]["text"] == "text a"
    assert rows[0]["prompt"] == "p"
    merge([one], tmp_path / "file.jsonl", TAXONOMY)
    assert len((tmp_path / "file.jsonl").read_text().splitlines()) == 3


def test_a_line_separator_in_a_text_is_no_end_of_line(tmp_path):
    rows = [{"id": "a", "labels": [], "text": "one\u2028two", "source": "s"}]
    path = write(tmp_path / "a.jsonl", rows)
    assert agreement([path, path], TAXONOMY, resamples=5)[0].agreement == 1.0


def test_faults_are_said(tmp_path):
    one = annotator(tmp_path / "one", [("a", ["shape"])])
    other = annotator(tmp_path / "other", [("b", ["form"])])
    with pytest.raises(PresightError, match="no segment in common"):
        agreement([one, annotator(tmp_path / "two", [("b", [])])], TAXONOMY)
    with pytest.raises(PresightError, match="'form' is not in the taxonomy"):
        agreement([one, other], TAXONOMY)
    with pytest.raises(PresightError, match="holds no annotations"):
        agreement([tmp_path / "none", one], TAXONOMY)
    with pytest.raises(PresightError, match="without id and labels"):
        agreement([write(tmp_path / "x", [{"id": "a"}])], TAXONOMY)
    with pytest.raises(PresightError, match="has no text"):
        merge([write(tmp_path / "y", [{"id": "a", "labels": []}])], tmp_path / "out", TAXONOMY)
    for wrong in ({"labels": 5}, {"labels": ["shape", 5]}, {"labels": "shape"}, {"annotations": ["shape"]}):
        with pytest.raises(PresightError, match="without id and labels"):
            agreement([one, write(tmp_path / "w", [{"id": "a", **wrong}])], TAXONOMY)
    with pytest.raises(PresightError, match="'form' is not in the taxonomy"):
        merge([other], tmp_path / "out", TAXONOMY)
    with pytest.raises(PresightError, match="has no text"):
        merge([overlap(tmp_path / "z", [[[], []]])], tmp_path / "out", TAXONOMY)
