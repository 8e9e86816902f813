import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from corpus.labels.taxonomy import Label, Taxonomy
from presight.errors import PresightError

SIX = (
    "visual_concept",
    "visual_attribute",
    "visual_relation",
    "code_reasoning",
    "math_reasoning",
    "science_reasoning",
)


def write(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_the_shipped_one():
    taxonomy = Taxonomy.read()
    assert taxonomy == Taxonomy.read("priors")
    assert taxonomy.labels == SIX
    assert taxonomy.families == {"visual": SIX[:3], "reasoning": SIX[3:]}
    assert all(entry.definition and entry.includes and entry.excludes for entry in taxonomy.entries)
    assert taxonomy.label("math_reasoning").family == "reasoning"


def test_the_tree_is_the_taxonomy():
    taxonomy = Taxonomy.read()
    assert Taxonomy.of(taxonomy.tree) == taxonomy
    assert Taxonomy.of(taxonomy.tree).digest == taxonomy.digest
    tree = taxonomy.tree
    tree["families"]["visual"]["visual_concept"]["definition"] += " Indeed."
    assert Taxonomy.of(tree).digest != taxonomy.digest


def test_a_taxonomy_of_ones_own(tmp_path):
    path = write(
        tmp_path, "name: mine\nfamilies:\n  sound:\n    pitch: It says how high.\n    timbre: {definition: It hums.}\n"
    )
    taxonomy = Taxonomy.read(path)
    assert taxonomy.entries == (
        Label(name="pitch", family="sound", definition="It says how high."),
        Label(name="timbre", family="sound", definition="It hums."),
    )
    assert taxonomy.families == {"sound": ("pitch", "timbre")}


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("name: [", "is no YAML"),
        ("- a", "has other keys than name and families"),
        ("name: mine\nfamily: {}", "has other keys than name and families"),
        ("name: mine\nfamilies: {}", "families: is no mapping of names"),
        ("name: mine\nfamilies: {a: [b]}", "families.a: is no mapping of names"),
        ("name: mine\nfamilies: {a: {b: 3}}", "families.a.b: is no mapping of names"),
        ("name: mine\nfamilies: {a: {B c: x}}", "families.a.B c.name: String should match"),
        ("name: mine\nfamilies: {a: {b: ''}}", "families.a.b.definition: String should have at least 1"),
        ("name: mine\nfamilies: {a: {b: {definition: x, colour: y}}}", "families.a.b.colour: Extra inputs"),
        ("name: mine\nfamilies: {a: {b: x}, c: {b: y}}", "families: 'b' names two things"),
        ("name: mine\nfamilies: {a: {a: x}}", "families: 'a' names two things"),
        ("name: My own\nfamilies: {a: {b: x}}", "name: String should match"),
    ],
)
def test_what_is_no_taxonomy_is_refused_in_one_sentence(tmp_path, text, field):
    with pytest.raises(PresightError) as caught:
        Taxonomy.read(write(tmp_path, text))
    assert field in str(caught.value)
    assert str(tmp_path / "mine.yaml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_names_are_told_the_nearest(tmp_path):
    with pytest.raises(PresightError, match=r"did you mean priors\?"):
        Taxonomy.read("prior")
    with pytest.raises(PresightError, match=r"nowhere\.yaml"):
        Taxonomy.read(tmp_path / "nowhere.yaml")
    with pytest.raises(PresightError, match=r"did you mean code_reasoning\?"):
        Taxonomy.read().label("code_reason")


def test_indicators():
    taxonomy = Taxonomy.read()
    found = taxonomy.indicators([["code_reasoning", "visual_concept"], [], SIX])
    assert found.tolist() == [[True, False, False, True, False, False], [False] * 6, [True] * 6]
    assert taxonomy.indicators([]).shape == (0, 6)


def any_of_independent(taxonomy, row):
    """The slow twin: the probability that not all of a family's labels are absent, family by family."""
    found = []
    for labels in taxonomy.families.values():
        absent = 1.0
        for label in labels:
            absent *= 1 - row[taxonomy.labels.index(label)]
        found.append(1 - absent)
    return found


@given(
    arrays(
        np.float64, array_shapes(min_dims=1, max_dims=2, max_side=4).map(lambda s: (*s, 6)), elements=st.floats(0, 1)
    )
)
def test_family_scores(scores):
    taxonomy = Taxonomy.read()
    families = taxonomy.combine(scores)
    assert families.shape == (*scores.shape[:-1], 2)
    slow = [any_of_independent(taxonomy, row) for row in scores.reshape(-1, 6)]
    assert np.allclose(families.reshape(-1, 2), slow)
    assert (families >= np.stack([scores[..., :3].max(-1), scores[..., 3:].max(-1)], -1) - 1e-12).all()


@given(arrays(bool, (5, 6)))
def test_of_truth_the_family_is_any_of_its_labels(truth):
    families = Taxonomy.read().combine(truth)
    assert families.dtype == bool
    assert (families == Taxonomy.read().combine(truth.astype(float)).astype(bool)).all()
    assert (families == np.stack([truth[:, :3].any(1), truth[:, 3:].any(1)], 1)).all()
