"""Images or sounds as they came, each once and known by its content: the format ``pictures``.

What is said or asked of a picture names it by that content, so that captions, instructions and questions of many
artifacts share one set of encoder features.
"""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from adapt import records
from presight.errors import EXIT_DATA, PresightError

if TYPE_CHECKING:
    from PIL.Image import Image

INDEX = "pictures.json"
SHARD_ITEMS = 1000
KEY = 32  # hexadecimal digits of the content's SHA-256

Modality = Literal["image", "sound"]


def key_of(content: bytes) -> str:
    """What a picture is called: the first half of its SHA-256."""
    return hashlib.sha256(content).hexdigest()[:KEY]


def picture(name: str, content: bytes) -> Image:
    """A picture in RGB on white.

    Left to itself a conversion shows what lies beneath transparency, mostly black, sometimes anything.

    Raises:
        PresightError: the bytes are no picture.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as opened:
            if not opened.has_transparency_data:
                return opened.convert("RGB")
            cut_out = opened.convert("RGBA")
    except Exception as error:  # decoders raise whatever they like
        raise PresightError(name, "cannot be read as an image", "mend it, or take it off the list") from error
    ground = Image.new("RGBA", cut_out.size, "white")
    return Image.alpha_composite(ground, cut_out).convert("RGB")


def samples(name: str, content: bytes) -> tuple[npt.NDArray[np.float32], int]:
    """A sound's samples [T] within −1 … 1, channels averaged, and how many there are a second.

    Raises:
        PresightError: the bytes are no sound.
    """
    import soundfile

    try:
        read, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    except (RuntimeError, OSError) as error:
        raise PresightError(name, "cannot be read as a sound", "mend it, or take it off the list") from error
    return np.asarray(read.mean(1), dtype=np.float32), int(rate)


class Writer:
    """Writes a ``pictures`` artifact, content by content; leaving the ``with`` block without an error completes it.

    Args:
        out: the artifact's folder.
        modality: of all of them.
        shard: pictures of a tar.
    """

    def __init__(self, out: Path, modality: Modality = "image", shard: int = SHARD_ITEMS) -> None:
        self.out, self.modality, self.shard = out, modality, shard
        self._rows: dict[str, tuple[int, int, int]] = {}
        self._file: BinaryIO | None = None

    def __enter__(self) -> Writer:
        return self

    def add(self, content: bytes, suffix: str) -> str:
        """Keep an encoded picture, unless it is kept already; its key. ``suffix`` is that of its file, as png."""
        key = key_of(content)
        if key in self._rows:
            return key
        number, place = divmod(len(self._rows), self.shard)
        if place == 0:
            self._close()
            self._file = (self.out / _name(number)).open("wb")
        assert self._file
        record = records.pack(key, {suffix: content})
        self._rows[key] = (number, self._file.tell(), len(record))
        self._file.write(record)
        return key

    def _close(self) -> None:
        if self._file:
            self._file.write(bytes(2 * records.BLOCK))
            self._file.close()
            self._file = None

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        self._close()
        if kind is None:
            np.save(self.out / "pictures.index.npy", np.array(list(self._rows.values()), np.int64).reshape(-1, 3))
            described = {"modality": self.modality, "keys": list(self._rows)}
            (self.out / INDEX).write_text(json.dumps(described))


def _name(number: int) -> str:
    return f"pictures-{number:06d}.tar"


class Pictures:
    """The pictures of an artifact, by key.

    Args:
        folder: the artifact.

    Raises:
        PresightError: it holds no pictures.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / INDEX).exists():
            raise PresightError(str(folder), "holds no pictures", "give an artifact of kind pictures")
        described = json.loads((folder / INDEX).read_text())
        self.folder = folder
        self.modality: Modality = described["modality"]
        self.keys: tuple[str, ...] = tuple(described["keys"])
        self._rows = np.load(folder / "pictures.index.npy")
        self._places = {key: place for place, key in enumerate(self.keys)}

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def read(self, key: str) -> bytes:
        """The encoded content.

        Raises:
            PresightError: there is none of that key; or its shard is damaged (exit code 87).
        """
        if key not in self._places:
            problem = f"has no picture {key}"
            raise PresightError(str(self.folder), problem, "give the pictures that the data were made with")
        number, offset, size = self._rows[self._places[key]].tolist()
        with (self.folder / _name(number)).open("rb") as file:
            file.seek(offset)
            record = file.read(size)
        try:
            found, members = records.unpack(record)
            (content,) = members.values()
            if found != key or key_of(content) != key:
                raise ValueError("its content is another")
        except ValueError as error:
            problem = f"picture {key} is damaged ({error})"
            raise PresightError(str(self.folder), problem, "delete the artifact and run again", EXIT_DATA) from error
        return content

    def image(self, key: str) -> Image:
        """The picture in RGB on white."""
        return picture(key, self.read(key))

    def sound(self, key: str) -> tuple[npt.NDArray[np.float32], int]:
        """The sound's samples [T], and their number a second."""
        return samples(key, self.read(key))
