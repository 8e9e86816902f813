import itertools
import json
import os
import shutil
import signal

import numpy as np
import pytest
from tokenizers import Tokenizer as Fast
from toy_experiment import varied
from toy_labels import MEANING, SEGMENT, labelled

from corpus import segments
from corpus.labels import label as labelling
from corpus.labels.classifier import Classifier
from presight.errors import PresightError
from presight.stage import Stage


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory):
    """A classifier that tells the invented sources apart, and the labels of the tiny tokens."""
    return labelled(tiny, tmp_path_factory.mktemp("labels"))[:2]


def test_every_segment_has_a_row(tiny, made):
    classifier, label = made
    folder, tokens = tiny.path(label), tiny.path(tiny.tokens)
    described = json.loads((folder / "labels.json").read_text())
    model = Classifier.load(tiny.path(classifier))
    decoder = Fast.from_file(str(tokens / "tokenizer" / "tokenizer.json"))
    assert described["classifier"] == model.digest
    for source, splits in json.loads((tokens / "tokens.json").read_text())["sources"].items():
        for split in ("train", "heldout"):
            places = described["sources"][source][split]["shards"]
            for shard, place in zip(splits[split]["shards"], places, strict=True):
                stream = np.fromfile(tokens / shard["path"], dtype="<u2")
                bounds = segments.cut(segments.ends(tokens / shard["path"], len(stream)), SEGMENT)
                scores = np.load(folder / place["path"])
                assert scores.dtype == np.float16
                assert scores.shape == (place["segments"], 6)
                texts = [decoder.decode(stream[a:b].tolist()) for a, b in itertools.pairwise(bounds)]
                np.testing.assert_allclose(scores, model.score_long(texts), atol=1e-3)  # the slow, obvious way
    for source, labels in MEANING.items():
        assert described["sources"][source]["shares"][labels[0]] > 0.9


def test_parts_and_blocks_do_not_show(tiny, made, tmp_path, monkeypatch):
    _, label = made
    monkeypatch.setattr(labelling, "AT_ONCE", 100)
    other = varied(label, parts=3)
    assert other.fingerprint != label.fingerprint  # more parts are another stage, of the same bytes
    inputs = {"tokens": tiny.path(tiny.tokens), "classifier": tiny.path(label.classifier)}
    out = tmp_path / "payload"
    out.mkdir()
    for shard in range(3):
        other.run_shard(shard, out, inputs)
    other.finish(out, inputs)
    for path in tiny.path(label).rglob("*.npy"):
        assert (out / path.relative_to(tiny.path(label))).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("at", [1, 3])
def test_killed_and_run_again_it_gives_the_same_bytes(tiny, made, tmp_path, at):
    _, label = made
    inputs = {"tokens": tiny.path(tiny.tokens), "classifier": tiny.path(label.classifier)}
    out = tmp_path / "payload"
    out.mkdir()
    if not (child := os.fork()):
        calls = []
        save = np.save

        def killed(*given):
            calls.append(given)
            save(*given)
            if len(calls) == at:
                os.kill(os.getpid(), signal.SIGKILL)

        labelling.np.save = killed
        label.run_shard(0, out, inputs)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    for shard in range(2):
        label.run_shard(shard, out, inputs)
    label.finish(out, inputs)
    made_before = tiny.path(label)
    names = [
        path.relative_to(made_before) for path in made_before.rglob("*") if path.is_file() and path.name != "card.json"
    ]
    assert len(names) > 10
    for name in names:
        if name.parts[0] != "log":
            assert (out / name).read_bytes() == (made_before / name).read_bytes()


def spoiled(tiny, tmp_path):
    """A copy of the tokens that may be damaged."""
    folder = tmp_path / "tokens"
    shutil.copytree(tiny.path(tiny.tokens), folder)
    return folder


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: (p := next(f.glob("train/web/*.ds"))).write_bytes(p.read_bytes()[:-1]), "bytes are expected"),
        (lambda f: (p := next(f.glob("train/web/*.ds"))).write_bytes(b"xx" + p.read_bytes()[2:]), "other bytes"),
        (lambda f: next(f.glob("train/web/*.ds")).unlink(), "is no file, but"),
        (lambda f: (p := next(f.glob("train/web/*.index"))).write_bytes(p.read_bytes()[:-1]), "does not index"),
        (lambda f: (f / "tokenizer" / "tokenizer.json").write_text("{}"), "but the tokens were made with"),
        (lambda f: (f / "tokens.json").unlink(), "holds no tokens"),
    ],
)
def test_damaged_tokens_are_refused_in_one_sentence(tiny, made, tmp_path, damage, says):
    _, label = made
    folder = spoiled(tiny, tmp_path)
    damage(folder)
    out = tmp_path / "payload"
    out.mkdir()
    with pytest.raises(PresightError, match=says) as refused:
        varied(label, parts=1).run_shard(0, out, {"tokens": folder, "classifier": tiny.path(label.classifier)})
    assert "\n" not in str(refused.value)


def test_a_stale_model_is_refused(tiny, made, tmp_path):
    classifier, label = made
    folder = tmp_path / "classifier"
    shutil.copytree(tiny.path(classifier), folder)
    (folder / "model.bin").write_bytes((folder / "model.bin").read_bytes() + b"x")
    out = tmp_path / "payload"
    out.mkdir()
    with pytest.raises(PresightError, match=r"model\.bin: is not the model that was trained"):
        label.run_shard(0, out, {"tokens": tiny.path(tiny.tokens), "classifier": folder})


def test_it_is_a_stage_of_its_kind(made):
    assert all(isinstance(stage, Stage) for stage in made)
    assert [stage.kind for stage in made] == ["classifier", "labels"]
