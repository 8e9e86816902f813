import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.tokens import Codebook, spectra
from presight.errors import PresightError


def slow_codes(vectors, centres):
    """The nearest centre, one vector after another."""
    flat = vectors.reshape(-1, vectors.shape[-1]).astype(np.float64)
    codes = [
        int(np.argmin([((vector - centre) ** 2).sum() for centre in centres.astype(np.float64)])) for vector in flat
    ]
    return np.array(codes).reshape(vectors.shape[:-1])


def spread(vectors, book):
    return float(((vectors - book.centres[book(vectors)]) ** 2).sum())


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 6), st.integers(0, 999))
def test_codes_equal_the_slow_twin(count, tokens, size, seed):
    order = np.random.default_rng(seed)
    centres, vectors = (order.normal(size=shape).astype(np.float32) for shape in ((size, 3), (count, tokens, 3)))
    found = Codebook(centres)(vectors)
    assert found.dtype == np.int64
    assert found.tolist() == slow_codes(vectors, centres).tolist()


@pytest.mark.parametrize("seed", range(5))
def test_groups_far_apart_are_found(seed):
    order = np.random.default_rng(seed)
    means = 100 * order.normal(size=(6, 4))
    truth = np.repeat(np.arange(6), 50)
    vectors = (means[truth] + order.normal(size=(300, 4))).astype(np.float32)
    book = Codebook.of(vectors, 6, seed)
    codes = book(vectors)
    for group in range(6):
        assert len(set(codes[truth == group])) == 1
    assert len(set(codes)) == 6
    for group in range(6):
        assert book.centres[codes[truth == group][0]] == pytest.approx(vectors[truth == group].mean(0), rel=1e-3)


def test_more_codes_lie_nearer_and_every_code_is_used():
    vectors = np.random.default_rng(0).normal(size=(400, 5)).astype(np.float32)
    books = [Codebook.of(vectors, size, 0) for size in (2, 8, 32)]
    distances = [spread(vectors, book) for book in books]
    assert distances[0] > distances[1] > distances[2]
    for size, book in zip((2, 8, 32), books, strict=True):
        assert set(book(vectors)) == set(range(size))
    moved = Codebook(books[1].centres + np.random.default_rng(1).normal(size=(8, 5)).astype(np.float32))
    assert spread(vectors, moved) > distances[1]


def test_it_follows_from_the_seed():
    vectors = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    first, same, other = (Codebook.of(vectors, 8, seed).centres.tobytes() for seed in (0, 0, 1))
    assert first == same
    assert first != other


def test_too_many_codes_are_one_sentence():
    vectors = np.repeat(np.eye(3, dtype=np.float32), 5, axis=0)
    assert Codebook.of(vectors, 3, 0).centres.shape == (3, 3)
    with pytest.raises(PresightError, match=r"^codebook: 4 codes of 3 distinct patches; ask for fewer codes"):
        Codebook.of(vectors, 4, 0)


def test_spectra_know_pitch_and_not_phase():
    time = np.arange(200) / 8000
    tones = np.stack([np.sin(2 * np.pi * pitch * time + phase) for pitch in (400, 1600) for phase in (0, 1.3)])
    found = spectra(tones[None].astype(np.float32))[0]
    assert found.shape == (4, 101)
    assert [int(row.argmax()) for row in found] == [10, 10, 40, 40]

    def apart(table, a, b):
        return np.linalg.norm(table[a] - table[b])

    assert apart(found, 0, 1) < apart(found, 0, 2) / 3
    assert apart(tones, 0, 1) > apart(tones, 0, 2) / 3  # the waveforms know it
