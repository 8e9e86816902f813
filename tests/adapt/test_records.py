import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.records import BLOCK, pack, unpack

names = st.text("abcdefghij", min_size=1, max_size=8)
members = st.dictionaries(names, st.binary(max_size=1200), min_size=1, max_size=4)


def by_tarfile(key, members):
    """The same record the slow way."""
    out = b""
    for suffix, content in members.items():
        info = tarfile.TarInfo(f"{key}.{suffix}")
        info.size, info.mode, info.uname, info.gname = len(content), 0o444, "presight", "presight"
        out += info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % BLOCK)
    return out


@given(names, members)
def test_a_record_has_the_bytes_that_tarfile_gives_it_and_comes_back(key, members):
    record = pack(key, members)
    assert record == by_tarfile(key, members)
    assert unpack(record) == (key, members)
    with tarfile.open(fileobj=io.BytesIO(record + bytes(2 * BLOCK))) as archive:
        assert archive.getnames() == [f"{key}.{suffix}" for suffix in members]


@given(names, members, st.data())
def test_a_changed_header_or_a_missing_end_is_noticed(key, members, data):
    record = bytearray(pack(key, members))
    at = data.draw(st.integers(0, 147))
    record[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match="damaged"):
        unpack(bytes(record))
    whole = pack(key, members)
    size = sum(BLOCK + len(content) + -len(content) % BLOCK for content in members.values())
    assert len(whole) == size
    last = len(list(members.values())[-1])
    cut = data.draw(st.integers(1, size)) if last else data.draw(st.integers(1, BLOCK - 1))
    shorter = whole[: size - cut]
    try:
        found = unpack(shorter)[1]
    except ValueError:
        return
    missing = {name: content for name, content in members.items() if found.get(name) != content}
    assert not missing or len(found) < len(members)  # padding, or whole members, which the index's lengths rule out


def test_members_of_two_keys_and_names_that_are_too_long_are_refused():
    with pytest.raises(ValueError, match="2 keys"):
        unpack(pack("a", {"x": b"1"}) + pack("b", {"x": b"1"}))
    with pytest.raises(ValueError, match="0 keys"):
        unpack(b"")
    with pytest.raises(ValueError, match="too long"):
        pack("k" * 99, {"json": b""})
