import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.sounds import Note, split_by_series
from eval.world.recordings import ALIKE, LONGEST, PEAK, RATE, TONES, Recordings, of_notes, tones, trimmed
from eval.world.truth import SPLITS


@given(st.integers(0, 999), st.integers(0, 3000), st.floats(0.001, 2), st.integers(900, 30_000))
def test_a_sound_begins_at_once_ends_softly_and_has_its_peak(seed, lead, level, length):
    order = np.random.default_rng(seed)
    sound = np.concatenate([np.zeros(lead), level * np.sign(order.normal(size=length))]).astype(np.float32)
    hit = trimmed(sound)
    assert len(hit) == min(length, round(LONGEST * RATE))
    assert np.abs(hit).max() == pytest.approx(PEAK)
    assert abs(hit[0]) == pytest.approx(PEAK)
    assert hit[-1] == 0
    assert hit.dtype == np.float32


def test_silence_and_what_is_over_at_once_are_no_sounds():
    assert len(trimmed(np.zeros(5000, np.float32))) == 0
    assert len(trimmed(np.ones(500, np.float32))) == 0
    assert len(trimmed(np.zeros(0, np.float32))) == 0


def test_made_up_sounds_are_told_apart_by_their_spectrum():
    """A stand-in for hearing: the mean frequency tells a hiss and a rumble from tones."""
    found = tones(0)
    assert set(found) == set(SPLITS)
    for split in SPLITS:
        assert set(found[split]) == set(TONES)
        for name, hits in found[split].items():
            spectra = [np.abs(np.fft.rfft(hit)) ** 2 for hit in hits]
            means = [
                np.sum(np.fft.rfftfreq(len(hit), 1 / RATE) * power) / power.sum()
                for hit, power in zip(hits, spectra, strict=True)
            ]
            assert all(mean > 3000 for mean in means) == (name == "hiss")
            assert all(mean < 250 for mean in means) == (name == "rumble")
    every = [hit.tobytes() for split in SPLITS for hits in found[split].values() for hit in hits]
    assert len(set(every)) == len(every)
    assert np.array_equal(tones(0)["test"]["bell"][3], found["test"]["bell"][3])
    assert not np.array_equal(tones(1)["test"]["bell"][3][:1000], found["test"]["bell"][3][:1000])


def test_recorded_notes_go_to_splits_by_what_they_were_recorded_from():
    time = np.arange(8000) / 8000
    notes = [
        Note(
            f"{family} {series} {i}",
            family,
            f"{family} {series}",
            np.sin(time * (series + 2 + 10 * (family == "brass")) * 900).astype(np.float32),
            8000,
        )
        for family in ("piano", "brass")
        for series in range(6)
        for i in range(3)
    ] + [Note("silent", "piano", "piano 0", np.zeros(8000, np.float32), 8000)]
    found = of_notes(notes, split_by_series, 0)
    assert sum(len(hits) for split in found.values() for hits in split.values()) == 36
    heard = {split: {hit.tobytes() for hits in found[split].values() for hit in hits} for split in SPLITS}
    assert not heard["train"] & heard["test"] | heard["train"] & heard["validation"]
    assert all(set(found[split]) == {"piano", "brass"} for split in SPLITS)
    assert all(len(hit) == round(LONGEST * RATE) for hits in found["test"].values() for hit in hits)


def test_names_that_may_be_true_of_one_sound():
    known = Recordings({}, ALIKE["drums"])
    assert known.like("snare") == {"snare", "rim"}
    assert known.like("clap") == {"clap"}
