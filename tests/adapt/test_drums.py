import io
from collections import Counter, defaultdict

import numpy as np
import pytest
import toy_archives as toy
from hypothesis import given
from hypothesis import strategies as st

from adapt.drums import family, hits, split_kits
from adapt.sounds import Note
from presight.errors import PresightError
from presight.packages import fetch

FOLDER = "usr/share/hydrogen/data/drumkits"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Kick", "kick"),
        ("BassDrum", "kick"),
        ("c3 - bass drum 1", "kick"),
        ("Snare Jazz", "snare"),
        ("Snare (Pearl Free Floating Maple 14x3.5)", "snare"),
        ("Snare Rimshot", "rim"),
        ("Rim Click (Pearl)", "rim"),
        ("Pearl Side Stick", "rim"),
        ("Snare Roll", None),
        ('Hi-Hat Closed (Paiste Alpha Metal edge 14")', "hi-hat"),
        ("Hi Hat Free", "hi-hat"),
        ("Sabian Hat Swish", "hi-hat"),
        ("Side OHH", "hi-hat"),
        ("Closed HH 2", "hi-hat"),
        ('Tom Low (Tama Superstar 16")', "tom"),
        ("tomhi2", "tom"),
        ("Paiste Ride Flink", "ride"),
        ("Crash Left", "crash"),
        ("Crash/Ride Bow (Paiste)", None),
        ("ride-crash20inch", None),
        ("Zildjian Splash", "crash"),
        ("Cowbell", "cowbell"),
        ("Hand Clap", "clap"),
        ("Whistle", None),
        ("Custom", None),
        ("17", None),
        ("", None),
    ],
)
def test_a_drum_is_known_by_its_name(name, expected):
    assert family(name) == expected


def wave(seed):
    import soundfile

    out = io.BytesIO()
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, (300, 2))
    soundfile.write(out, samples, 22_050, format="WAV")
    return out.getvalue()


def kit(author, instruments, namespace=' xmlns="http://www.hydrogen-music.org/drumkit"'):
    layers = "".join(
        f"<instrument><name>{name}</name>"
        + "".join(f"<layer><filename>{file}</filename></layer>" for file in files)
        + "</instrument>"
        for name, files in instruments.items()
    )
    return f"<drumkit_info{namespace}><name>k</name><author>{author}</author>{layers}</drumkit_info>".encode()


KITS = {
    "one": (kit("Glen Somebody", {"Kick": ["a.wav", "b.wav"], "Snare": ["c.wav"], "Zap": ["z.wav"]}), "abcz"),
    "two": (kit("somebody / other", {"Kick": ["d.wav"], "Hat": ["gone.wav"], "Tom": ["e.wav"]}, ""), "de"),
    "three": (kit("", {"Clap": ["f.wav"], "Snare": ["g.wav"], "Ride": ["g.wav"]}), "fg"),
    "four": (kit("", {"Kick": ["copy.wav"], "Clap": ["h.wav"]}), "h"),
    "five": (kit("", {"Kick": ["i.wav"]}), "i"),
}


def members():
    made = {}
    for name, (described, files) in KITS.items():
        made[f"{FOLDER}/{name}/drumkit.xml"] = described
        made |= {f"{FOLDER}/{name}/{file}.wav": wave(ord(file)) for file in files}
    made[f"{FOLDER}/four/copy.wav"] = wave(ord("f"))  # the clap of kit three, called a kick here
    return made


def read(tmp_path, files):
    return hits(toy.fetched("audio.drums", tmp_path, {"hydrogen-drumkits": files}))


def test_hits_are_read_once_with_their_drum_and_the_kits_that_belong_together(tmp_path):
    found = {note.name: note for note in read(tmp_path, members())}
    assert {name: (note.family, note.series) for name, note in found.items()} == {
        "one/a.wav": ("kick", "one"),
        "one/b.wav": ("kick", "one"),
        "one/c.wav": ("snare", "one"),
        "two/d.wav": ("kick", "one"),  # the authors share a name
        "two/e.wav": ("tom", "one"),
        "four/copy.wav": ("kick", "four"),
        "four/h.wav": ("clap", "four"),
        "five/i.wav": ("kick", "five"),
    }  # four and three share a sample; of g.wav nobody knows what it is
    note = found["one/a.wav"]
    assert note.samples.shape == (300,)
    assert note.samples.dtype == np.float32
    assert note.rate == 22_050


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("one/drumkit.xml", b"<drumkit_info>"),
        ("one/drumkit.xml", b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'),
        ("one/a.wav", b"no wave"),
    ],
)
def test_damage_is_named(tmp_path, name, content):
    with pytest.raises(PresightError, match=rf"audio\.drums: .*{name}: cannot be read"):
        read(tmp_path, members() | {f"{FOLDER}/{name}": content})


notes = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 7)), min_size=1, max_size=60).map(
    lambda pairs: [Note("", drum, f"{series}", np.zeros(1, np.float32), 1) for drum, series in pairs]
)


@given(notes, st.integers(0, 5))
def test_a_split_of_kits_is_a_partition_that_keeps_them_whole(given, seed):
    sides = split_kits(given, (0.6, 0.15, 0.25), seed)
    assert sorted(i for side in sides for i in side) == list(range(len(given)))
    series = [{given[i].series for i in side} for side in sides]
    assert sum(map(len, series)) == len(set().union(*series))
    assert sides == split_kits(given, (0.6, 0.15, 0.25), seed)


def test_a_split_of_kits_comes_near_its_shares_and_hears_every_drum():
    given = [
        Note("", drum, f"{kit_}", np.zeros(1, np.float32), 1)
        for kit_ in range(12) for drum in "abcd" for _ in range(1 + kit_ % 3)
    ]  # fmt: skip
    found = [split_kits(given, (0.5, 0.25, 0.25), seed) for seed in range(6)]
    for sides in found:
        for side, share in zip(sides, (0.5, 0.25, 0.25), strict=True):
            counts = Counter(given[i].family for i in side)
            assert all(abs(counts[drum] / 24 - share) < 0.13 for drum in "abcd")
    assert len({str(sides) for sides in found}) > 2


@pytest.mark.network
def test_real_drums():
    try:
        found = hits(fetch("audio.drums"))
    except PresightError as error:
        pytest.skip(f"neither cached nor reachable: {error}")
    assert len(found) == 521
    counts = Counter(note.family for note in found)
    assert len(counts) == 9
    assert counts["hi-hat"] == 128
    kits = defaultdict(set)
    for note in found:
        kits[note.series].add(note.name.split("/")[0])
    assert {"GMRockKit", "The Black Pearl 1.0"} <= kits["GMRockKit"]  # the same files under other names
    assert len(kits) == 9
