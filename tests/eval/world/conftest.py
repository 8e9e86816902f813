"""A sample world of made-up shapes, small, for all tests of this folder."""

import pytest

from eval import World
from eval.world.invented import shapes
from eval.world.scenes import Composer

SIDE = 64


@pytest.fixture(scope="session")
def made():
    """Runs a stage in a folder; where its artifact is then."""

    def run(stage, folder, **inputs):
        out = folder / "payload"
        out.mkdir(parents=True)
        stage.run(out, inputs)
        return out

    return run


@pytest.fixture(scope="session")
def composer():
    return Composer(shapes(), side=SIDE)


@pytest.fixture(scope="session")
def rendered(composer):
    """Scenes of all splits as they are drawn."""
    return [composer.scene(split, number) for split in ("train", "validation", "test") for number in range(60)]


@pytest.fixture(scope="session")
def stage():
    return World(sample="shapes", train=300, validation=60, test=400, side=SIDE)


@pytest.fixture(scope="session")
def world(stage, made, tmp_path_factory):
    return made(stage, tmp_path_factory.mktemp("world"))
