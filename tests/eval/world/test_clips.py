import io
import json
from collections import Counter

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from eval.world import clips
from eval.world.clips import GAP, HIGHER, MOST, PURPOSES, SECONDS, SOFTER, Clip, Event, compose, encoded, varied
from eval.world.recordings import RATE, Recordings, tones
from eval.world.truth import SPLITS
from presight.errors import PresightError

TONES = Recordings(tones(0), (frozenset({"hiss", "rumble"}),))


def stretches(samples):
    """Where there is sound, as seconds: from the first sample after a rest of half a gap to the last before one."""
    loud = np.flatnonzero(samples)
    breaks = np.flatnonzero(np.diff(loud) > 0.5 * GAP * RATE)
    begins = [loud[0], *loud[breaks + 1]]
    ends = [*loud[breaks], loud[-1]]
    return [(begin / RATE, (end + 1) / RATE) for begin, end in zip(begins, ends, strict=True)]


@given(st.sampled_from(SPLITS), st.integers(0, 400), st.integers(0, 5))
def test_truth_is_what_can_be_found_in_the_samples(split, number, seed):
    samples, clip = compose(TONES, split, number, seed)
    assert samples.shape == (round(SECONDS * RATE),)
    found = stretches(samples)
    assert len(found) == len(clip.events)
    for event, (begin, end) in zip(clip.events, found, strict=True):
        assert event.onset == pytest.approx(begin, abs=0.005)
        assert event.onset + event.seconds == pytest.approx(end, abs=0.03)
        at = round(event.onset * RATE)
        heard = samples[at : at + round(event.seconds * RATE)]
        own = TONES.by_split[split][event.name][event.recording]
        if not event.higher:
            assert np.allclose(heard, own * 10 ** (-event.softer / 20), atol=1e-6)
    rests = [later.onset - one.onset - one.seconds for one, later in zip(clip.events, clip.events[1:], strict=False)]
    assert all(rest >= GAP - 1e-9 for rest in rests)


@given(st.integers(0, 400))
def test_every_purpose_has_the_clips_it_needs(number):
    samples, clip = compose(TONES, "train", number, 0)
    names = [event.name for event in clip.events]
    assert clip.purpose == PURPOSES[number % len(PURPOSES)]
    if clip.purpose == "row":
        assert len(set(names)) == len(names) <= MOST
        assert not {"hiss", "rumble"} <= set(names)
    else:
        first, second = clip.events
        if clip.purpose == "pair":
            assert (first.softer, first.higher) == (second.softer, second.higher) == (0, 0)
            assert first.name != second.name or first.recording == second.recording
        else:
            assert (first.name, first.recording) == (second.name, second.recording)
        if clip.purpose == "loud":
            assert sorted([first.softer, second.softer])[0] == 0
            parts = [samples[round(event.onset * RATE) :][: round(event.seconds * RATE)] for event in clip.events]
            levels = [20 * np.log10(np.sqrt((part**2).mean())) for part in parts]
            assert levels[0] - levels[1] == pytest.approx(second.softer - first.softer, abs=0.01)
            assert SOFTER[0] <= abs(levels[0] - levels[1]) <= SOFTER[1] + 0.01
        if clip.purpose == "pitch":
            assert HIGHER[0] <= abs(first.higher - second.higher) <= HIGHER[1]


def test_all_counts_come_and_either_of_two_may_be_the_one():
    made = [compose(TONES, "train", number, 0)[1] for number in range(1000)]
    rows = Counter(len(clip.events) for clip in made if clip.purpose == "row")
    assert [rows[count] for count in range(1, MOST + 1)] == [100] * 4
    for purpose, first in (
        ("pair", lambda clip: clip.events[0].name == clip.events[1].name),
        ("loud", lambda clip: clip.events[0].softer == 0),
        ("pitch", lambda clip: clip.events[0].higher > 0),
    ):
        hits = sum(first(clip) for clip in made if clip.purpose == purpose)
        assert 70 < hits < 130


def test_of_a_set_of_names_each_may_come_first():
    """Also where some are alike, so that one keeps the other out."""
    order = Counter()
    for number in range(4000):
        if number % len(PURPOSES) < 2 and (2 * (number // len(PURPOSES)) + number % len(PURPOSES)) % MOST == 1:
            names = [event.name for event in compose(TONES, "train", number, 0)[1].events]
            if "hiss" in names:
                order[names.index("hiss")] += 1
    assert sum(order.values()) > 60
    assert abs(order[0] - order[1]) < 3.5 * sum(order.values()) ** 0.5


def test_higher_is_faster():
    time = np.arange(8000) / RATE
    sound = np.sin(2 * np.pi * 400 * time).astype(np.float32)
    octave = varied(sound, 0, 12)
    assert len(octave) == 4000
    assert np.abs(np.fft.rfft(octave)).argmax() * RATE / 4000 == pytest.approx(800, abs=5)
    assert np.allclose(varied(sound, 20, 0), sound / 10, atol=1e-6)


def test_clips_are_read_as_written_and_the_file_as_it_sounds(tmp_path):
    samples, clip = compose(TONES, "test", 3, 0)
    heard, rate = soundfile.read(io.BytesIO(encoded(samples)), dtype="float32")
    assert rate == RATE
    assert np.abs(heard - samples).max() < 1e-4
    other = Clip("k", "train", 1, "row", "x", (Event("a", 0.5, 0.1),))
    clips.write(tmp_path, [clip, other])
    assert clips.read(tmp_path) == [clip, other]
    assert clips.read(tmp_path, "train") == [other]
    (tmp_path / clips.CLIPS).write_text(json.dumps({"events": [{}]}) + "\n")
    with pytest.raises(PresightError, match=r"clips\.jsonl, line 1: is no clip"):
        clips.read(tmp_path)
    with pytest.raises(PresightError, match="holds no clips"):
        clips.read(tmp_path / "other")
