import hashlib
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_annotations import TAXONOMY, annotations

from corpus.labels import classifier as module
from corpus.labels import metrics, model
from corpus.labels.annotations import Annotations, load_sample, published
from corpus.labels.classifier import Classifier, TrainClassifier, prepare, train
from corpus.labels.evaluation import evaluate
from corpus.labels.taxonomy import Taxonomy
from presight import packages
from presight.errors import PresightError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    train(annotations(), TAXONOMY, folder)
    return folder


@pytest.fixture(scope="module")
def classifier(folder):
    return Classifier.load(folder)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def slowly(text):
    """The twin of ``prepare``: character by character."""
    text = re.sub(r"([^\x00-\x7f\w])", r" \1 ", text)
    words, signs, word, sign = [], [], "", ""
    for letter in text + " ":
        kept = letter.lower() if letter.isascii() and letter.isalpha() else letter if ord(letter) > 127 else ""
        if kept and not kept.isspace():
            word += kept
        elif word:
            words.append(word)
            word = ""
        if letter.isascii() and letter.isprintable() and not letter.isalnum() and letter != " ":
            sign += letter
        elif sign:
            signs.append(sign)
            sign = ""
    marks = [chr(code) for code in range(33, 127) if not chr(code).isalpha() and chr(code) in text]
    return " ".join(dict.fromkeys([*words, *signs, *marks]))


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
@settings(max_examples=300)
def test_prepare_has_a_slow_twin(text):
    assert prepare(text) == slowly(text)


@given(st.text())
def test_prepared_text_is_one_line_without_repeats_that_fasttext_takes(text):
    prepared = prepare(text)
    assert len(prepared.split(" ")) == len(set(prepared.split(" ")))
    assert not re.search(r"[\n\r\t\v\f\0]", prepared)
    assert "__label__" not in prepared
    prepared.encode()


def test_prepare():
    assert prepare("def Foo_bar2(x):\n    return x -> x\n") == "def foo bar x return _ ( ): -> ) - 2 : >"
    assert prepare("The cat\nthe Cat") == "the cat"
    assert prepare("“Été”—x≤y") == "“ Été ” — x ≤ y"
    assert prepare(" \n") == ""


def test_two_trainings_give_the_same_bytes(folder, tmp_path):
    train(annotations(), TAXONOMY, tmp_path)
    assert files(tmp_path) == files(folder)
    assert sorted(files(tmp_path)) == ["classifier.json", "model.bin", "outoffold.jsonl"]


def test_scores_are_those_of_the_weights(folder, classifier):
    rows = annotations()
    prepared = [prepare(row.text) for row in rows]
    truth = TAXONOMY.indicators([row.labels for row in rows])
    weights = model.fit(prepared, truth, TAXONOMY.labels, model.PENALTY)
    lines = classifier.about["calibration"].values()
    slopes, offsets = np.array([[line["slope"], line["offset"]] for line in lines]).T
    slow = 1 / (1 + np.exp(-(weights.logits(prepared) * slopes + offsets)))
    scores = classifier.score([row.text for row in rows])
    assert scores.dtype == np.float32
    assert scores.shape == (90, 6)
    assert np.abs(scores - slow).max() < 0.01  # fastText reads its sigmoid from a table


def test_logits_have_a_slow_twin():
    rows = annotations(20)
    prepared = [prepare(row.text) for row in rows]
    weights = model.fit(prepared[:15], TAXONOMY.indicators([row.labels for row in rows[:15]]), TAXONOMY.labels, 1e-2)
    for text, logits in zip(prepared, weights.logits(prepared), strict=True):
        known = [weights.matrix[weights.words.index(word)] for word in text.split() if word in weights.words]
        assert np.allclose(logits, weights.bias + np.sum(known, axis=0) / (len(known) + 1))


def test_the_fit_is_an_optimum():
    rows = annotations(30)
    prepared, truth = [prepare(row.text) for row in rows], TAXONOMY.indicators([row.labels for row in rows])
    weights = model.fit(prepared, truth, TAXONOMY.labels, 0.01)
    counts = np.array([sum(word in text.split() for text in prepared) for word in weights.words])
    rarity = np.log(31 / counts)[:, None]

    def loss(matrix, bias):
        logits = model.Weights(TAXONOMY.labels, weights.words, matrix, bias).logits(prepared)
        return np.sum(np.logaddexp(0, np.where(truth, -logits, logits)), 0) + 0.005 * ((matrix / rarity) ** 2).sum(0)

    best = loss(weights.matrix, weights.bias)
    draw = np.random.default_rng(0)
    learnt = truth.any(0)
    assert learnt.sum() == 4
    for size in (1e-3, 1e-1):
        other = loss(weights.matrix + size * draw.normal(size=weights.matrix.shape), weights.bias)
        assert (other > best)[learnt].all()
        assert (loss(weights.matrix, weights.bias + size) > best)[learnt].all()


def test_a_text_of_unknown_words_gets_the_share(classifier):
    scores = classifier.score(["", "qqq zzz"])
    assert np.array_equal(scores[0], scores[1])
    assert (scores < 0.6).all()


def test_long_texts_are_the_mean_of_their_windows_by_length(classifier):
    telling, dull = "boat lamp river horse ", "they were then one "
    texts = ["", telling, (telling * 40 + dull * 100)[: 5 * classifier.window + 7], dull * 30]
    slow = []
    for text in texts:
        windows = [text[k : k + classifier.window] for k in range(0, len(text), classifier.window)] or [""]
        weights = [max(1, len(window)) for window in windows]
        slow.append(np.average(classifier.score(windows), axis=0, weights=weights))
    assert np.allclose(classifier.score_long(texts), slow, atol=1e-6)
    assert classifier.score_long(texts).dtype == np.float32
    assert classifier.score_long([]).shape == classifier.score([]).shape == (0, 6)


def test_a_text_is_scored_the_same_whatever_stands_beside_it(classifier):
    texts = [row.text for row in annotations()]
    alone = np.concatenate([classifier.score([text]) for text in texts])
    assert np.array_equal(classifier.score(texts), alone)
    assert np.array_equal(classifier.score(texts[::-1])[::-1], alone)


def test_what_a_classifier_says_of_itself(folder, classifier):
    about = json.loads((folder / "classifier.json").read_text())
    assert classifier.taxonomy == TAXONOMY
    assert classifier.labels == TAXONOMY.labels
    assert classifier.window == max(len(row.text) for row in annotations())
    assert classifier.digest == hashlib.sha256((folder / "classifier.json").read_bytes()).hexdigest()
    assert set(classifier.thresholds) == {*TAXONOMY.labels, *TAXONOMY.families}
    assert about["annotations"]["segments"] == 90
    assert (folder / "model.bin").stat().st_size < 30e6
    rows = [json.loads(line) for line in (folder / "outoffold.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [each.id for each in annotations()]
    every = {
        name: np.hstack([values, TAXONOMY.combine(values)])
        for name, values in (
            ("truth", TAXONOMY.indicators([row["labels"] for row in rows])),
            ("scores", np.array([row["scores"] for row in rows])),
        )
    }
    for column, name in enumerate([*TAXONOMY.labels, *TAXONOMY.families]):
        truth, scores = every["truth"][:, column], every["scores"][:, column]
        assert classifier.thresholds[name] == pytest.approx(metrics.best_threshold(truth, scores), abs=1e-5)
        for source in ("web", "code", "novel"):
            here = np.array([row["source"] == source for row in rows])
            said = scores >= classifier.thresholds[name]
            slow = {"tp": truth & said, "fp": ~truth & said, "fn": truth & ~said, "tn": ~truth & ~said}
            assert about["confusion"][source][name] == {kind: int(each[here].sum()) for kind, each in slow.items()}


def test_a_changed_model_is_refused(folder, tmp_path):
    for name, content in files(folder).items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "model.bin").write_bytes((tmp_path / "model.bin").read_bytes()[:-1] + b"!")
    with pytest.raises(PresightError, match="is not the model that was trained"):
        Classifier.load(tmp_path)
    (tmp_path / "model.bin").unlink()
    with pytest.raises(PresightError, match="is not the model that was trained"):
        Classifier.load(tmp_path)
    (tmp_path / "classifier.json").write_text('{"format": "presight classifier", "version": 99}')
    with pytest.raises(PresightError, match="is not presight classifier 1"):
        Classifier.load(tmp_path)
    for rubbish in ("{", "[]", "{}"):
        (tmp_path / "classifier.json").write_text(rubbish)
        with pytest.raises(PresightError, match="holds no classifier"):
            Classifier.load(tmp_path)
    with pytest.raises(PresightError, match="holds no classifier"):
        Classifier.load(tmp_path / "nowhere")


def test_a_training_that_dies_leaves_no_classifier(folder, tmp_path, monkeypatch):
    for name, content in files(folder).items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(module, "_confusion", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(annotations(), TAXONOMY, tmp_path)
    with pytest.raises(PresightError, match="holds no classifier"):
        Classifier.load(tmp_path)


def test_the_stage(tmp_path, folder):
    path = tmp_path / "mine.jsonl"
    lines = [json.dumps({**vars(each), "labels": list(each.labels)}) for each in annotations()]
    path.write_text("\n".join(lines))
    stage = TrainClassifier(annotations=Annotations(path=path, content="x")).settle(fetch=False)
    assert stage.definitions == TAXONOMY.digest
    out, inputs = tmp_path / "out", tmp_path / "in"
    out.mkdir()
    inputs.mkdir()
    (inputs / "annotations.jsonl").write_bytes(path.read_bytes())
    stage.run(out, {"annotations": inputs})
    assert {name: data for name, data in files(out).items() if name != "counts.json"} == files(folder)
    assert json.loads((out / "counts.json").read_text())["segments"] == 90

    tree = TAXONOMY.tree
    mine = tmp_path / "mine.yaml"
    mine.write_text(json.dumps(tree))
    same = TrainClassifier(annotations=stage.annotations, taxonomy=str(mine)).settle(fetch=False)
    assert same.fingerprint == stage.fingerprint
    tree["families"]["visual"]["visual_concept"]["definition"] = "Otherwise."
    mine.write_text(json.dumps(tree))
    assert (
        TrainClassifier(annotations=stage.annotations, taxonomy=str(mine)).settle(False).fingerprint
        != stage.fingerprint
    )
    with pytest.raises(PresightError, match="changed since it was planned"):
        same.run(out, {"annotations": inputs})


def test_a_label_nobody_gave_and_one_that_all_have(tmp_path):
    taxonomy = Taxonomy.of({"name": "two", "families": {"f": {"never": "x", "always": "y", "some": "z"}}})
    rows = [
        type(each)(each.id, each.source, each.document, ("always", "some") if each.labels else ("always",), each.text)
        for each in annotations(40)
    ]
    train(rows, taxonomy, tmp_path)
    found = Classifier.load(tmp_path)
    scores = found.score(["boat and lamp", ""])
    assert (scores[:, 0] < 0.05).all()
    assert (scores[:, 1] > 0.95).all()
    assert found.thresholds["never"] == 1


def test_the_published_labels(tmp_path):
    """What the classifier of the sample is held to; needs the packages that carry the text."""
    roles = [role for names in packages.texts("labels").values() for role in names]
    if not all(packages.cached(role) for role in roles):
        pytest.skip("the packages of the annotated text are not in the cache")
    rows = load_sample()
    assert len(rows) >= 0.95 * len(published())
    train(rows, TAXONOMY, tmp_path)
    report = evaluate(tmp_path, rows, resamples=0)
    assert report["out_of_fold"] == len(rows)
    assert report["families"]["visual"]["average_precision"] > 0.90
    assert report["families"]["reasoning"]["average_precision"] > 0.96
    assert report["families"]["visual"]["f1"] > 0.80
    assert report["families"]["reasoning"]["f1"] > 0.90
    for family, sources in (
        ("visual", ("web", "literature", "encyclopedia")),
        ("reasoning", ("academia", "encyclopedia")),
    ):
        for source in sources:
            ours = report["by_source"][source][family]["average_precision"]
            assert ours > report["baseline"]["by_source"][source][family]["average_precision"] + 0.2


def test_a_training_leaves_nothing_half_done_in_its_folder(tmp_path, monkeypatch):
    """A killed one neither: fastText's own training file lies elsewhere."""
    import fasttext

    def stop(*_, **__):
        assert not list(tmp_path.iterdir())
        raise KeyboardInterrupt

    monkeypatch.setattr(fasttext, "train_supervised", stop)
    weights = model.Weights(("a",), ("word",), np.zeros((1, 1)), np.zeros(1))
    with pytest.raises(KeyboardInterrupt):
        weights.save(tmp_path / "model.bin")
