import numpy as np
import pytest

from eval import World
from eval.world import subject
from eval.world.tasks import TASKS
from presight.errors import PresightError


def test_a_split_of_a_world(world):
    about = subject.read(world, "validation")
    assert {scene.split for scene in about.records} == {"validation"}
    assert set(about.tasks) == set(TASKS)
    asks = about.asks("count", np.random.default_rng(0))
    assert {ask.task for ask in asks} == {"count"}
    assert about.asks("count", np.random.default_rng(0), novel=True) == []
    assert len(about.asks("position", np.random.default_rng(0), 3)) == 3


def test_what_a_world_does_not_have_is_refused(made, tmp_path):
    stage = World(sample="shapes", train=0, validation=0, test=4, side=64, groups=("OCR & Chart",))
    out = made(stage, tmp_path)
    assert set(subject.read(out, "test").tasks) == {"word", "bar", "value"}
    with pytest.raises(PresightError, match="it has nothing of the train split"):
        subject.read(out, "train")
