import hashlib

import numpy as np
import pytest

from corpus.mixture import compile_mixture
from corpus.windows import Windows
from presight.errors import PresightError


def lock(**options):
    supplies = {"code": 300, "web": 4000}
    return compile_mixture({"web": 1, "code": 1}, supplies, 8 * 200, 8, seed=0, tokens={}, **options)


def test_a_sources_positions_are_its_windows():
    pool, position = np.array([0, 1, 1], dtype=np.int16), np.array([7, 0, 3999])
    assert Windows(lock()).of(pool, position).tolist() == [7, 0, 3999]


def test_a_cut_pool_holds_a_fair_sample_and_a_smaller_cut_a_part_of_it():
    def held(target):
        document = lock(target=target, max_epochs=100)
        supply = document["pools"][1]["supply"]
        return Windows(document).of(np.ones(supply, dtype=np.int16), np.arange(supply)).tolist()

    half, tenth = held(8 * 400), held(8 * 2000)
    assert (len(half), len(tenth)) == (2000, 400)
    assert len(set(half)) == 2000
    assert half[:400] == tenth
    assert 1800 < np.mean(half) < 2200  # of all the source, not of its beginning
    assert max(half) > 3900


@pytest.fixture
def listed(tmp_path):
    positions = np.array([2, 3, 5, 8, 13], dtype="<u4")
    positions.tofile(tmp_path / "web.positions")
    document = lock()
    digest = hashlib.sha256(positions.tobytes()).hexdigest()
    document["pools"][1] |= {
        "positions": {"path": "web.positions", "items": 5, "bytes": 4, "sha256": digest},
        "supply": 5,
    }
    from corpus.mixing import lock as locks

    document.pop("plan")
    return tmp_path, document | {"plan": locks.plan(document)}


def test_a_cells_positions_go_through_its_list(listed):
    folder, document = listed
    windows = Windows(document, folder)
    assert windows.of(np.array([1, 0, 1], dtype=np.int16), np.array([4, 4, 0])).tolist() == [13, 4, 2]


def test_a_list_that_is_not_the_locks_is_refused(listed):
    folder, document = listed
    path = folder / "web.positions"
    with pytest.raises(PresightError, match="has no folder"):
        Windows(document)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(PresightError, match="19 bytes where 20 are expected"):
        Windows(document, folder)
    path.write_bytes(content[:-1] + b"x")
    with pytest.raises(PresightError, match="other bytes"):
        Windows(document, folder)
    Windows(document, folder, verify=False)
    path.unlink()
    with pytest.raises(PresightError, match="no file"):
        Windows(document, folder)
