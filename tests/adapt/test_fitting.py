import math

import numpy as np
import pytest
import torch
from toy_models import tiny_lm

from adapt import Invented, Task, examples, fitting
from adapt.arms import freeze
from adapt.fitting import BATCH, Start, Trunk, fit, predict, value
from adapt.raw import RawInputClassifier
from presight.errors import EXIT_DIVERGED, PresightError
from pretrain.model import configuration, initialise

LIMITS = {"train": None, "validation": None, "test": None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("gratings")
    Invented(modality="image", train=160, validation=100, test=300, noise=0.3).run(out, {})
    return out


@pytest.fixture
def task(folder):
    return Task.load(folder, None, LIMITS)


def model(task, trained="norms", seed=0):
    inner = initialise(configuration("tiny", 512, 64, 0), seed).model
    made = RawInputClassifier(inner, task.width, len(task.classes), seed)
    freeze(made, trained)
    return made


def accuracy(fitted, task, split="test"):
    return value(task, split, predict(fitted, task, split))


def test_what_can_be_learnt_is_learnt(task):
    fitted = model(task)
    losses = fit(fitted, task, 1e-2, 12, 0, "")
    assert len(losses) == 12
    assert losses[-1] < losses[0] / 2
    assert accuracy(fitted, task) > 0.8
    shares = predict(fitted, task, "test", head="knn")
    assert value(task, "test", shares) > 0.8


@pytest.mark.parametrize("spoil", ["zeros", "labels"])
def test_where_nothing_can_be_learnt_accuracy_is_chance(folder, spoil):
    task = Task.load(folder, None, LIMITS, "labels" if spoil == "labels" else "none")
    if spoil == "zeros":
        for each in task.split.values():
            each.data[:] = 0
    fitted = model(task)
    fit(fitted, task, 3e-3, 2, 0, "")
    assert abs(accuracy(fitted, task) - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 300)


def test_a_fit_repeats_to_the_bit_and_depends_on_its_seed(task):
    def run(seed):
        fitted = model(task, "input")
        losses = fit(fitted, task, 3e-3, 1, seed, "")
        return losses, predict(fitted, task, "test").tobytes()

    assert run(0) == run(0)
    assert run(0)[1] != run(1)[1]  # the order alone differs


def test_every_training_example_is_seen_once_an_epoch(task):
    seen = []
    fitted = model(task, "head")

    def watched(patches):
        if fitted.training:
            seen.extend(patch.numpy().tobytes() for patch in patches)
            assert len(patches) <= BATCH
        return fitted.features(patches)

    fit(fitted, task, 1e-3, 2, 0, "", trunk=Trunk(task.patches, watched))
    known = [patch.tobytes() for patch in task.patches["train"][:]]
    assert sorted(seen[:160]) == sorted(seen[160:]) == sorted(known)
    assert seen[:160] != seen[160:]


def test_predict_scores_every_item_once_in_order(task):
    fitted = model(task).eval()
    scores = predict(fitted, task, "test")
    assert scores.shape == (300, 4)
    with torch.no_grad():
        for i in (0, 1, 255, 256, 257, 299):  # one at a time, around the edge of its batches
            probability = fitted(torch.from_numpy(task.patches["test"][i : i + 1])).softmax(-1)[0]
            assert scores[i] == pytest.approx(probability.numpy(), abs=1e-5)


@pytest.mark.parametrize("when", ["loss", "last step"])
def test_divergence_is_one_sentence(task, when):
    fitted = model(task, "head")

    def features(patches):
        spoilt = when == "loss" or not fitted.training
        return fitted.features(patches) * (math.nan if spoilt else 1.0)

    def run():
        fit(fitted, task, 1e-2, 1, 0, "", trunk=trunk)
        assert when == "last step"
        predict(fitted, task, "test", trunk=trunk)

    trunk = Trunk(task.patches, features)
    with pytest.raises(PresightError, match=r"^learning_rate: .* diverged.*; lower it\.$") as error:
        run()
    assert error.value.code == EXIT_DIVERGED


class Stop(Exception):
    pass


@pytest.mark.parametrize("at", [1, 4, 5, 9])
def test_a_stopped_fit_ends_as_one_that_was_not(task, tmp_path, monkeypatch, at):
    """With dropout, in the middle of an epoch, at its end and after it; five batches an epoch."""
    monkeypatch.setattr(fitting, "SECONDS", 0.0)

    def made():
        found = RawInputClassifier(tiny_lm("gpt2").base_model, task.width, 4, 0)
        freeze(found, "norms")
        return found

    def run(fitted, keep, stop=None):
        steps = []

        def features(batch):
            steps.append(len(batch))
            if len(steps) == stop:
                raise Stop
            return fitted.features(batch)

        losses = fit(fitted, task, 1e-2, 2, 3, "", trunk=Trunk(task.patches, features), keep=keep)
        return losses, len(steps)

    undisturbed, stopped, resumed = made(), made(), made()
    expected, steps = run(undisturbed, None)
    with pytest.raises(Stop):
        run(stopped, tmp_path / "a.pt", stop=at + 1)
    found, rest = run(resumed, tmp_path / "a.pt")
    assert (steps, rest) == (10, 10 - at)
    assert found == expected
    mine, other = resumed.state_dict(), undisturbed.state_dict()
    assert all(torch.equal(mine[name], other[name]) for name in other)
    assert run(made(), tmp_path / "a.pt") == (expected, 0)  # a fit that is done is not done again


def test_starts_are_put_back(task):
    fitted = model(task)
    before = {name: each.clone() for name, each in fitted.state_dict().items()}
    start = Start.of(fitted)
    fit(fitted, task, 1e-2, 1, 0, "")
    assert any(not torch.equal(each, before[name]) for name, each in fitted.state_dict().items())
    start.restore(fitted)
    assert all(torch.equal(each, before[name]) for name, each in fitted.state_dict().items())


def several(out, count=120):
    """Images whose left and right half may each be bright: two labels, one or none."""
    order = np.random.default_rng(0)

    def split():
        for k in range(count):
            there = order.random(2) < 0.5
            data = order.integers(0, 60, (8, 8)).astype(np.uint8)
            data[:, :4] += np.uint8(150 * there[0])
            data[:, 4:] += np.uint8(150 * there[1])
            yield examples.Example(f"{k}", data, tuple(int(c) for c in np.flatnonzero(there)), f"{k}")

    examples.write(out, {name: split() for name in examples.SPLITS}, "image", ["left", "right"], multilabel=True)
    return Task.load(out, 4, LIMITS)


def test_several_labels_are_learnt_each_by_itself(tmp_path):
    task = several(tmp_path)
    fitted = model(task)
    fit(fitted, task, 1e-2, 20, 0, "")
    scores = predict(fitted, task, "test")
    assert ((scores > 0.5) == task.items("test").labels).mean() > 0.95
    assert value(task, "test", scores) > 0.95
    near = predict(fitted, task, "test", head="knn")
    assert ((near > 0.5) == task.items("test").labels).mean() > 0.9
