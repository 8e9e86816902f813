import json

import pytest

from presight.errors import PresightError
from pretrain import rolling
from pretrain.rolling import COMPLETE, Rolling, State


class Engine:
    """Writes what DeepSpeed would, or half of it."""

    def __init__(self, full=False):
        self.full = full

    def save_checkpoint(self, folder, tag, exclude_frozen_parameters):
        from pathlib import Path

        place = Path(folder) / tag
        place.mkdir(parents=True)
        (place / "weights.pt").write_text("half")
        if self.full:
            raise OSError(28, "No space left on device", str(place))
        (place / "weights.pt").write_text("whole")


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    monkeypatch.setattr(rolling, "_barrier", lambda: None)
    return Rolling(tmp_path / "rolling", 0, 1, 1)


def test_the_newest_counts_and_the_ones_before_it_go(checkpoints):
    assert checkpoints.newest() is None
    for step in (3, 10, 200):
        checkpoints.save(Engine(), State(step=step, items=4 * step, ledger={"web": [1, 2.5, 3]}, skipped=[2]))
    found = checkpoints.newest()
    assert found.state == State(step=200, items=800, ledger={"web": [1, 2.5, 3]}, skipped=[2])
    assert (found.world, found.zero) == (1, 1)
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-0000000200"]
    assert checkpoints.prepare(found) == found.folder


def test_one_that_is_not_complete_does_not_count_and_costs_the_one_before_nothing(checkpoints):
    checkpoints.save(Engine(), State(step=5))
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(Engine(full=True), State(step=6))
    assert checkpoints.newest().state.step == 5
    assert (checkpoints.newest().folder / "weights.pt").read_text() == "whole"
    (checkpoints.folder / "step-0000000006" / f"{COMPLETE}.partial").write_text("{")
    assert checkpoints.newest().state.step == 5


def test_a_whole_checkpoint_is_not_written_over(checkpoints):
    """Stopped twice at one step: nothing was learnt between, and a kill in the second save must cost nothing."""
    checkpoints.save(Engine(), State(step=5))
    checkpoints.save(Engine(full=True), State(step=5))
    assert (checkpoints.newest().folder / "weights.pt").read_text() == "whole"


def test_what_is_written_over_is_not_whole_meanwhile(checkpoints):
    rolling.write(Engine(), checkpoints.folder, "state", State(step=5), 1, 1, 0)
    (checkpoints.folder / "state" / "weights.pt").unlink()
    (checkpoints.folder / "state" / "weights.pt").parent.joinpath("x").touch()

    class Killed:
        def save_checkpoint(self, folder, tag, exclude_frozen_parameters):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rolling.write(Killed(), checkpoints.folder, "state", State(step=6), 1, 1, 0)
    assert rolling.read(checkpoints.folder / "state") is None


def test_conversions_go_with_what_they_were_made_of(checkpoints):
    checkpoints.save(Engine(), State(step=5))
    (checkpoints.folder / "universal-step-0000000005").mkdir()
    checkpoints.save(Engine(), State(step=6))
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-0000000006"]


@pytest.mark.parametrize(("saved", "now"), [(1, 3), (3, 1), (2, 0)])
def test_stages_that_nothing_converts_are_named(checkpoints, saved, now):
    checkpoints.save(Engine(), State(step=1))
    mark = checkpoints.folder / "step-0000000001" / COMPLETE
    mark.write_text(json.dumps(json.loads(mark.read_text()) | {"zero": saved}))
    checkpoints.zero = now
    with pytest.raises(PresightError, match=f"zero: {now}, but the checkpoint in .* is of stage {saved}"):
        checkpoints.prepare(checkpoints.newest())


def test_a_conversion_that_fails_is_one_sentence(checkpoints):
    checkpoints.save(Engine(), State(step=1))
    checkpoints.world = 2
    with pytest.raises(PresightError, match=r"could not be converted for 2 ranks \(.*\); go on with 1 ranks"):
        checkpoints.prepare(checkpoints.newest())
