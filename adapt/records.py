"""A record of a webdataset shard: the tar members of one key, one after the other."""

from __future__ import annotations

from collections.abc import Mapping

BLOCK = 512
NAME, LARGEST = 100, 8**11  # bytes of a name, and of a content
# a header behind its checksum: a plain file, no link, the format, owner and group, no more
AFTER = (b"0" + bytes(100) + b"ustar\x0000" + b"presight".ljust(32, b"\0") * 2).ljust(BLOCK - 156, b"\0")
AFTER_SUM = sum(AFTER)


def pack(key: str, members: Mapping[str, bytes]) -> bytes:
    """The bytes of a record: a header and padded content for each ``suffix: content``, in the order given.

    Owner, time and mode are fixed, so that the bytes follow from the arguments alone. (They are those of ``tarfile``,
    which takes three times as long.)

    Raises:
        ValueError: a name is longer than a header holds, or a content.
    """
    parts = []
    for suffix, content in members.items():
        name = f"{key}.{suffix}".encode()
        if len(name) > NAME or len(content) >= LARGEST:
            raise ValueError(f"{key}.{suffix} has too long a name or content for a tar")
        before = name.ljust(NAME, b"\0") + b"0000444\x000000000\x000000000\x00%011o\x0000000000000\0" % len(content)
        checksum = sum(before) + AFTER_SUM + 8 * ord(" ")
        parts += [before, b"%06o\0 " % checksum, AFTER, content, bytes(-len(content) % BLOCK)]
    return b"".join(parts)


def unpack(record: bytes) -> tuple[str, dict[str, bytes]]:
    """Key and ``suffix: content`` of a record.

    Raises:
        ValueError: a header is damaged, the record is cut short, or it holds members of two keys.
    """
    keys, members, at = set(), {}, 0
    while at < len(record):
        header = record[at : at + BLOCK]
        # the checksum counts its own eight bytes as spaces
        if len(header) < BLOCK or _octal(header[148:156]) != sum(header) - sum(header[148:156]) + 8 * ord(" "):
            raise ValueError("a header is damaged")
        key, _, suffix = header[:100].rstrip(b"\0").decode().partition(".")
        size, at = _octal(header[124:136]), at + BLOCK
        if at + size > len(record):
            raise ValueError(f"{key}.{suffix} is cut short")
        keys.add(key)
        members[suffix] = record[at : at + size]
        at += size + -size % BLOCK
    if len(keys) != 1:
        raise ValueError(f"it holds members of {len(keys)} keys")
    return keys.pop(), members


def _octal(field: bytes) -> int:
    return int(field.rstrip(b"\0 ") or b"0", 8)
