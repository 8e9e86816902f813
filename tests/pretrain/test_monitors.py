import json
import sys
from types import SimpleNamespace

import pytest
from toy_experiment import beside, forked, varied

from presight.errors import PresightError
from pretrain.monitors import monitors, scalars

LINE = {"step": 3, "tokens": 99, "loss": 2.5, "loss_by_source": {"web": 2.0, "code": 3.0}, "gradient_norm": None}


def test_every_number_of_a_line_has_a_name():
    assert scalars(LINE) == {"loss": 2.5, "loss_by_source/web": 2.0, "loss_by_source/code": 3.0}
    heldout = {"step": 0, "tokens": 0, "source": "web", "loss": 8.0, "bits_per_byte": 2.0, "predicted": 9}
    expected = {"heldout/web/loss": 8.0, "heldout/web/bits_per_byte": 2.0, "heldout/web/predicted": 9.0}
    assert scalars(heldout) == expected
    assert scalars({"step": 6, "skipped": True, "learning_rate": 0.1}) == {"learning_rate": 0.1}


def shown(folder):
    """What TensorBoard shows: by name, the values by step."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    read = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0})
    read.Reload()
    return {name: {each.step: each.value for each in read.Scalars(name)} for name in read.Tags()["scalars"]}


def test_tensorboard_shows_a_resumed_run_once(tmp_path):
    pytest.importorskip("tensorboard")
    for begins, values in ((0, [5.0, 4.0, 9.0]), (2, [3.0, 2.0])):  # the third step was taken back
        (made,) = monitors(("tensorboard",), tmp_path, begins, "run", {})
        for step, value in enumerate(values, begins + 1):
            made.write(step, {"loss": value})
        made.close()
    assert shown(tmp_path / "tensorboard") == {"loss": {1: 5.0, 2: 4.0, 3: 3.0, 4: 2.0}}


def test_a_runs_losses_are_shown_and_its_result_is_the_same(tiny, lm, tmp_path):
    pytest.importorskip("tensorboard")
    stage = varied(tiny.train, monitors=("tensorboard",))
    assert stage.fingerprint == tiny.train.fingerprint
    store = beside(tiny.store, tmp_path, tiny.mixture)
    done = forked((store, stage))
    assert done.returncode == 0, done.stderr
    found = shown(store.path(stage) / "log" / "tensorboard")
    lines = [json.loads(line) for line in (lm / "metrics.jsonl").read_text().splitlines()]
    assert found["loss"] == pytest.approx({line["step"]: line["loss"] for line in lines}, rel=1e-6)
    assert {"loss_by_source/web", "heldout/code/bits_per_byte", "tokens_per_second", "learning_rate"} <= set(found)
    card = json.loads((store.path(stage) / "card.json").read_text())
    assert not [name for name in card["files"] if "tensorboard" in name]


def test_wandb_takes_the_same_run_up_again(tmp_path, monkeypatch):
    began, logged = [], []

    class Run:
        def define_metric(self, name, step_metric):
            assert (name, step_metric) == ("*", "step")

        def log(self, values):
            logged.append(values)

        def finish(self):
            logged.append("finished")

    def init(**settings):
        began.append(settings)
        return Run()

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    monkeypatch.setenv("WANDB_PROJECT", "mixtures")
    (made,) = monitors(("wandb",), tmp_path, 2, "abc", {"model": "1m"})
    made.write(3, {"loss": 2.5})
    made.close()
    assert logged == [{"step": 3, "loss": 2.5}, "finished"]
    folder = str(tmp_path / "wandb")
    same = {"id": "abc", "name": "abc", "resume": "allow", "project": "mixtures"}
    assert began == [{**same, "dir": folder, "config": {"model": "1m"}}]


def test_a_monitor_that_is_not_installed_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(PresightError, match="monitors: wandb is not installed; pip install wandb"):
        monitors(("wandb",), tmp_path, 0, "run", {})
