import math

import numpy as np
import pytest
import torch

from adapt import Invented, examples
from adapt.fitting import BATCH, Task, fit, predict
from adapt.patches import image_patches
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


def model(task, seed=0):
    inner = initialise(configuration("tiny", 512, 64, 0), seed).model
    return RawInputClassifier(inner, task.width, len(task.classes), seed)


def accuracy(fitted, task, split="test"):
    return float((predict(fitted, task, split)[0] == task.split[split].labels).mean())


def test_a_task_is_cut_and_scaled_by_its_training_split(folder):
    task = Task.load(folder, 8, {"train": 40, "test": None})
    assert set(task.patches) == {"train", "test"}
    raw = {
        split: image_patches(examples.read(folder, split, n).data, 8) for split, n in (("train", 40), ("test", None))
    }
    mean, deviation = raw["train"].mean(dtype=np.float64), raw["train"].std(dtype=np.float64)
    for split, values in raw.items():
        assert task.patches[split] == pytest.approx((values - mean) / deviation, abs=1e-3)
    assert (task.width, task.modality, len(task.classes)) == (64, "image", 4)
    assert Task.load(folder, None, {}).patches["train"].shape == (160, 16, 16)


def test_sounds_are_cut_by_25_ms(tmp_path):
    Invented(modality="sound", train=8, validation=8, test=8).run(tmp_path, {})
    assert Task.load(tmp_path, None, LIMITS).patches["test"].shape == (8, 10, 100)


def test_what_can_be_learnt_is_learnt(task):
    fitted = model(task)
    done = fit(fitted, task, "norms", 1e-2, 12, 0, "")
    assert len(done.losses) == 12
    assert done.losses[-1] < done.losses[0] / 2
    assert accuracy(fitted, task) > 0.8
    assert done.validation == accuracy(fitted, task, "validation")


@pytest.mark.parametrize("spoil", ["zeros", "labels"])
def test_where_nothing_can_be_learnt_accuracy_is_chance(task, spoil):
    order = np.random.default_rng(0)
    if spoil == "zeros":
        for values in task.patches.values():
            values[:] = 0
    else:
        order.shuffle(task.split["train"].labels)
    fitted = model(task)
    fit(fitted, task, "norms", 3e-3, 2, 0, "")
    assert abs(accuracy(fitted, task) - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 300)


@pytest.mark.parametrize("trained", ["head", "input", "norms", "full"])
def test_what_is_frozen_stays_as_it_is_to_the_bit(task, trained):
    fitted = model(task)
    before = {name: value.detach().numpy().copy() for name, value in fitted.named_parameters()}
    done = fit(fitted, task, trained, 1e-2, 1, 0, "")
    for name, value in fitted.named_parameters():
        same = value.detach().numpy().tobytes() == before[name].tobytes()
        assert same == (name not in done.trained), name


def test_a_fit_repeats_to_the_bit_and_depends_on_its_seed(task):
    def run(seed, initial=0):
        fitted = model(task, initial)
        done = fit(fitted, task, "input", 3e-3, 1, seed, "")
        return done.losses, predict(fitted, task, "test")[1].tobytes()

    assert run(0) == run(0)
    assert run(0)[1] != run(1)[1]  # the order alone differs


def test_every_training_example_is_seen_once_an_epoch(task):
    seen = []
    fitted = model(task)
    plain = fitted.forward

    def watched(patches):
        if fitted.training:
            seen.extend(patch.numpy().tobytes() for patch in patches)
            assert len(patches) <= BATCH
        return plain(patches)

    fitted.forward = watched
    fit(fitted, task, "head", 1e-3, 2, 0, "")
    known = [patch.tobytes() for patch in task.patches["train"]]
    assert sorted(seen[:160]) == sorted(seen[160:]) == sorted(known)
    assert seen[:160] != seen[160:]


def test_predict_scores_every_item_once_in_order(task):
    fitted = model(task).eval()
    predicted, confidence = predict(fitted, task, "test")
    with torch.no_grad():
        for i in (0, 1, 255, 256, 257, 299):  # one at a time, around the edge of its batches
            probability = fitted(torch.from_numpy(task.patches["test"][i : i + 1])).softmax(-1)[0]
            assert predicted[i] == int(probability.argmax())
            assert confidence[i] == pytest.approx(probability[task.split["test"].labels[i]].item(), abs=1e-5)
    assert len(predicted) == len(confidence) == 300


@pytest.mark.parametrize("when", ["loss", "last step"])
def test_divergence_is_one_sentence(task, when):
    fitted = model(task)
    if when == "loss":
        task.patches["train"][5, 0, 0] = np.nan
    else:
        plain = fitted.forward
        fitted.forward = lambda patches: plain(patches) * (1.0 if fitted.training else math.nan)
    with pytest.raises(PresightError, match=r"^learning_rate: 0\.01 diverged; lower it\.$") as error:
        fit(fitted, task, "head", 1e-2, 1, 0, "")
    assert error.value.code == EXIT_DIVERGED
