import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.vlm.features import Features, part
from presight.errors import PresightError


def artifact(folder, sizes, views=("plain",), seed=0):
    """An artifact of several files of so many rows; its keys, and all rows."""
    count = sum(sizes)
    keys = [f"{number:032x}" for number in range(count)]
    rows = np.random.default_rng(seed).normal(size=(count, len(views), 6, 5)).astype(np.float16)
    described = dict(encoder="one", modality="image", keys=keys, views=views, grid=[2, 3], width=5, layer=-2)
    (folder / "features.json").write_text(json.dumps(described))
    np.save(folder / "blank.npy", np.full((6, 5), 7, np.float16))
    first = 0
    for number, size in enumerate(sizes):
        if size or len(sizes) == 1:
            np.save(folder / part(number, len(sizes)), rows[first : first + size])
        first += size
    return keys, rows


@given(st.lists(st.integers(0, 5), min_size=1, max_size=5), st.lists(st.integers(0, 99), max_size=9))
def test_rows_are_read_by_key_from_any_part(tmp_path_factory, sizes, wanted):
    folder = tmp_path_factory.mktemp("features")
    keys, rows = artifact(folder, sizes, ("plain", "scrambled"))
    found = Features(folder)
    assert found.keys == tuple(keys)
    assert len(found) == len(keys)
    wanted = [row % len(keys) for row in wanted] if keys else []
    for view, name in enumerate(("plain", "scrambled")):
        read = found.read([keys[row] for row in wanted], name)
        assert read.dtype == np.float16
        assert np.array_equal(read, rows[wanted, view])


def test_what_they_are_is_told(tmp_path):
    keys, rows = artifact(tmp_path, [3])
    found = Features(tmp_path)
    assert (found.grid, found.width, found.layer, found.modality, found.views) == ((2, 3), 5, -2, "image", ("plain",))
    assert found.encoder == "one"
    assert keys[0] in found
    assert "ab" not in found
    assert np.array_equal(found.blank, np.full((6, 5), 7, np.float16))
    read = found.read(keys)
    read[:] = 0  # one's own
    assert np.array_equal(Features(tmp_path).read(keys), rows[:, 0])


def test_a_process_is_sent_the_place_and_not_the_rows(tmp_path):
    keys, _ = artifact(tmp_path, [300])
    sent = pickle.dumps(Features(tmp_path))
    assert len(sent) < 1000
    assert np.array_equal(pickle.loads(sent).read(keys[5:7]), Features(tmp_path).read(keys[5:7]))


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(PresightError, match="holds no features"):
        Features(tmp_path)
    keys, _ = artifact(tmp_path, [2, 3])
    found = Features(tmp_path)
    with pytest.raises(PresightError, match="has no features of picture ab"):
        found.read([keys[0], "ab"])
    with pytest.raises(PresightError, match=r"no scrambled view; encode them with views: \[plain, scrambled\]"):
        found.read(keys, "scrambled")
    np.save(tmp_path / part(1, 2), np.zeros((2, 1, 6, 5), np.float16))
    with pytest.raises(PresightError, match="do not hold what its description says") as caught:
        Features(tmp_path)
    assert caught.value.code == 87
    np.save(tmp_path / part(1, 2), np.zeros((3, 1, 6, 5), np.float32))
    with pytest.raises(PresightError, match="do not hold what its description says"):
        Features(tmp_path)
