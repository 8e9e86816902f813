import io
import struct
from collections import Counter, defaultdict
from contextlib import suppress

import numpy as np
import pytest
import toy_archives as toy
from hypothesis import given
from hypothesis import strategies as st

from adapt.sounds import Font, Note, instruments, resample, split_by_series, stem
from presight.errors import PresightError
from presight.packages import fetch

RATE = 22_050
TONE = (0.5 * np.sin(np.arange(4_000) * 2 * np.pi * 440 / RATE)).astype(np.float32)
# preset: (bank, program, instruments); instrument: samples; sample: name
PRESETS = [
    (0, 0, ["Grand"]),
    (0, 3, ["Grand", "Honky"]),
    (0, 71, ["Clarinet"]),
    (128, 0, ["Kit"]),
    (1, 40, ["Fiddle"]),
]
PLAYERS = {
    "Grand": ["Piano C4(L)", "Piano F#5(L)", "Noise"],
    "Honky": ["Upright_c4"],
    "Clarinet": ["Clarinet C 4", "Noise"],
    "Kit": ["Clave(L)", "Std Kick 1(L)", "Std Kick(L)"],
    "Fiddle": ["Violin A3"],
}


def font(vorbis=False, pad=True, tone=TONE) -> bytes:
    """A SoundFont 2 (or SF3) file with one zone a sample and an empty global zone before."""
    import soundfile

    names = sorted({name for played in PLAYERS.values() for name in played})
    data, headers = b"", []
    for k, name in enumerate(names):
        if vorbis:
            out = io.BytesIO()
            soundfile.write(out, tone, RATE, format="OGG", subtype="VORBIS")
            start, data = len(data), data + out.getvalue()
            end = len(data)
        else:
            start, data = len(data) // 2, data + (tone * 32767).astype("<i2").tobytes()
            end = len(data) // 2
        kind = 1 | (16 if vorbis else 0)
        headers.append(struct.pack("<20sIIIIIBbHH", name.encode(), start, end, 0, 0, RATE, 60, k, 0, kind))
    if vorbis and len(data) % 2 == 0:
        data += b"\x7f"  # an odd chunk, to be padded or not

    def tables(entries, generator):
        """Bags and generators of presets or instruments: one global zone without the generator, then one each."""
        firsts, bags, generators = [], [], []
        for amounts in entries:
            firsts.append(len(bags))
            bags.append(len(generators))
            generators.append((17, 100))
            for amount in amounts:
                bags.append(len(generators))
                generators.append((generator, amount))
        firsts.append(len(bags))
        bags.append(len(generators))
        generators.append((0, 0))
        return firsts, [struct.pack("<HH", b, 0) for b in bags], [struct.pack("<HH", *g) for g in generators]

    order = list(PLAYERS)
    preset_bags, pbag, pgen = tables([[order.index(i) for i in used] for *_, used in PRESETS], 41)
    player_bags, ibag, igen = tables([[names.index(n) for n in played] for played in PLAYERS.values()], 53)
    phdr = [(f"{b}/{p}".encode(), p, b) for b, p, _ in PRESETS] + [(b"EOP", 0, 0)]
    chunks = {
        b"phdr": [struct.pack("<20sHHHIII", *h, bag, 0, 0, 0) for h, bag in zip(phdr, preset_bags, strict=True)],
        b"pbag": pbag,
        b"pgen": pgen,
        b"inst": [struct.pack("<20sH", n.encode(), b) for n, b in zip([*order, "EOI"], player_bags, strict=True)],
        b"ibag": ibag,
        b"igen": igen,
        b"shdr": [*headers, struct.pack("<20sIIIIIBbHH", b"EOS", *[0] * 9)],
    }

    def chunk(tag, content):
        return tag + struct.pack("<I", len(content)) + content + (b"\0" if pad and len(content) % 2 else b"")

    body = b"sfbk" + chunk(b"LIST", b"INFO" + chunk(b"INAM", b"toy\0"))
    body += chunk(b"LIST", b"sdta" + chunk(b"smpl", data))
    body += chunk(b"LIST", b"pdta" + b"".join(chunk(tag, b"".join(rows)) for tag, rows in chunks.items()))
    return b"RIFF" + struct.pack("<I", len(body)) + body


def read(tmp_path, content, at_least=1):
    member = {"usr/share/fluidr3mono-gm-soundfont/FluidR3Mono_GM.sf3": content}
    return instruments(toy.fetched("audio.instruments", tmp_path, {"fluidr3mono-gm-soundfont": member}), at_least)


@pytest.mark.parametrize(("vorbis", "pad"), [(False, True), (True, True), (True, False)])
def test_reads_what_was_written(tmp_path, vorbis, pad):
    notes = {note.name: note for note in read(tmp_path, font(vorbis, pad))}
    assert {name: note.family for name, note in notes.items()} == {
        "Clarinet C 4": "reed",
        "Clave(L)": "drums",
        "Piano C4(L)": "piano",
        "Piano F#5(L)": "piano",
        "Std Kick 1(L)": "drums",
        "Std Kick(L)": "drums",
        "Upright_c4": "piano",
    }  # not the noise that two families use, nor the violin that no General MIDI preset plays
    for note in notes.values():
        assert note.samples.dtype == np.float32
        assert note.rate == RATE
        np.testing.assert_allclose(note.samples, TONE, atol=0.1 if vorbis else 1e-3)
    series = {name: note.series for name, note in notes.items()}
    assert series["Piano C4(L)"] == series["Piano F#5(L)"] == "piano"
    assert series["Std Kick 1(L)"] == series["Std Kick(L)"] == "std kick"
    assert series["Upright_c4"] == "upright"
    assert series["Clave(L)"] == "clave"


def test_small_families_are_left_out(tmp_path):
    assert {note.family for note in read(tmp_path, font(), at_least=2)} == {"piano", "drums"}


def test_stems_that_share_a_melodic_instrument_are_one_series():
    made = Font(font())
    names = {made.name(i): i for i in range(9)}
    families = dict.fromkeys((names["Piano C4(L)"], names["Noise"]), "piano")
    assert set(made.series(families).values()) == {"noise"}
    assert len(set(made.series(dict.fromkeys(families, "drums")).values())) == 2


@pytest.mark.parametrize("content", [b"", b"RIFF" + b"\0" * 40, font()[:-30], font()[:3000], font(True)[:3000]])
def test_damage_is_named(tmp_path, content):
    with pytest.raises(PresightError, match="is no sound font"):
        read(tmp_path, content)


@given(st.data())
def test_damage_is_a_presight_error_or_harmless(tmp_path_factory, data):
    content = bytearray(font(tone=TONE[:20]))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(PresightError):
        read(tmp_path_factory.mktemp("font"), bytes(content))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Viola A#2(L)", "viola"),
        ("Electric Piano C3", "electric piano"),
        ("EP 2 C 8(R)", "ep 2"),
        ("tromboneBb3", "trombone"),
        ("dulci_c3(L)", "dulci"),
        ("reed organ f#7(L)", "reed organ"),
        ("B3 A3", "b3"),
        ("Finger Bass GO", "finger bass"),
        ("PalmMuted Guitar Bb", "palmmuted guitar"),
        ("Distortion E212", "distortion"),
        ("E's Bassoon C#1(L)", "e's bassoon"),
        ("Harmonics 10", "harmonics"),
        ("Power Bass Drum 1(L", "power bass drum"),
        ("Power Kick (L)", "power kick"),
        ("Snr 2-1(L)", "snr"),
        ("Hi-Hat Half-Open(L)", "hi-hat"),
        ("Hi-Hat Closed(L)", "hi-hat"),
        ("Guiro Down(L)", "guiro"),
        ("MdHi Studio(L)", "studio"),
        ("55_24_TNR4_NORM", "kit 55"),
        ("Clave(L)", "clave"),
        ("High Q(L)", "q"),
        ("C4", "c"),
        ("High", "high"),
    ],
)
def test_stem(name, expected):
    assert stem(name) == expected


def note(family, series):
    return Note("", family, series, TONE[:1], RATE)


families_and_series = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12)), max_size=80)
fractions = st.lists(st.floats(0.05, 1), min_size=1, max_size=4)


@given(families_and_series, fractions, st.integers(0, 9), st.booleans())
def test_split_is_a_partition_that_keeps_series_whole(pairs, shares, seed, own):
    notes = [note(family, f"{family}{series}" if own else f"{series}") for family, series in pairs]
    sides = split_by_series(notes, shares, seed)
    assert len(sides) == len(shares)
    assert sorted(i for side in sides for i in side) == list(range(len(notes)))
    assert all(side == sorted(side) for side in sides)
    for one in range(len(sides)):
        for two in range(one):
            assert not {notes[i].series for i in sides[one]} & {notes[i].series for i in sides[two]}
    assert split_by_series(notes, shares, seed) == sides


@given(families_and_series, fractions, st.integers(0, 9))
def test_every_side_hears_every_family_that_has_series_enough(pairs, shares, seed):
    notes = [note(family, f"{family}{series}") for family, series in pairs]
    sides = split_by_series(notes, shares, seed)
    series = defaultdict(set)
    for one in notes:
        series[one.family].add(one.series)
    for family, names in series.items():
        heard = [sum(notes[i].family == family for i in side) for side in sides]
        assert sum(count > 0 for count in heard) >= min(len(names), len(sides))


def test_split_comes_near_its_shares_and_depends_on_the_seed():
    notes = [note(family, f"{family}{k % 40}") for family in "ab" for k in range(400)]
    sides = split_by_series(notes, [6, 2, 2], 0)
    for side, share in zip(sides, (0.6, 0.2, 0.2), strict=True):
        counts = Counter(notes[i].family for i in side)
        assert all(abs(counts[family] - share * 400) <= 10 for family in "ab")  # one series
    assert sides != split_by_series(notes, [6, 2, 2], 1)


@pytest.mark.parametrize("shares", [[], [0.5, 0.0], [1, -1]])
def test_shares_must_be_positive(shares):
    with pytest.raises(PresightError, match="must all be positive"):
        split_by_series([], shares, 0)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_resampled_tone_keeps_its_pitch_and_length(rate):
    tone = np.sin(np.arange(rate) * 2 * np.pi * 1_000 / rate).astype(np.float32)
    found = resample(tone, rate)
    assert found.dtype == np.float32
    assert len(found) == 16_000
    expected = np.sin(np.arange(16_000) * 2 * np.pi * 1_000 / 16_000)
    np.testing.assert_allclose(found[500:-500], expected[500:-500], atol=0.01)
    assert resample(tone, rate, rate) is tone
    both = resample(np.stack([tone, -tone]), rate)
    np.testing.assert_array_equal(both, [found, -found])


@pytest.mark.network
def test_real_instruments():
    try:
        notes = instruments(fetch("audio.instruments"))
    except PresightError as error:
        pytest.skip(f"neither cached nor reachable: {error}")
    assert len(notes) == 744
    assert len({one.family for one in notes}) == 9
    by_series = defaultdict(set)
    for one in notes:
        assert one.samples.ndim == 1
        by_series[one.series].add(one.family)
    assert all(len(families) == 1 for families in by_series.values())
    assert 100 < len(by_series) < 150
    sides = split_by_series(notes, (0.6, 0.15, 0.25), 0)
    assert all(len({notes[i].family for i in side}) == 9 for side in sides)
