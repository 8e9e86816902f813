"""Tiny collections in the layouts of their authors, written byte by byte."""

import io
import pickle
import struct
import tarfile

import numpy as np

GENRES = ("blues", "jazz")
RATE = 8000


def python2(value) -> bytes:
    """A pickle as Python 2 wrote CIFAR's batches, in protocol 2: text is bytes, arrays are of bytes."""

    def body(value):
        if isinstance(value, dict):
            return b"}(" + b"".join(body(each) for pair in value.items() for each in pair) + b"u"
        if isinstance(value, list):
            return b"](" + b"".join(map(body, value)) + b"e"
        if isinstance(value, bytes):
            return b"T" + struct.pack("<i", len(value)) + value
        if isinstance(value, int):
            return b"J" + struct.pack("<i", value)
        shape = b"".join(map(body, value.shape))
        kind = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
        return empty + b"(K\x01(" + shape + b"t" + kind + b"\x89" + body(value.tobytes()) + b"tb"

    return b"\x80\x02" + body(value) + b"."


def cifar(folder, per_batch=12, pickled=python2):
    """CIFAR-10's folder; returns the pixels [N, 32, 32, 3] and labels of each file."""
    from adapt.layouts.cifar import CLASSES, META, TEST, TRAIN

    folder.mkdir(parents=True)
    order = np.random.default_rng(0)
    made = {}
    for name in (*TRAIN, TEST):
        data = order.integers(0, 256, (per_batch, 3072), dtype=np.uint8)
        labels = [(number + len(made)) % 10 for number in range(per_batch)]
        (folder / name).write_bytes(pickled({b"batch_label": name.encode(), b"labels": labels, b"data": data}))
        planes = data.reshape(-1, 3, 32, 32)
        made[name] = np.stack([planes[:, 0], planes[:, 1], planes[:, 2]], axis=-1), labels
    names = [name.encode() for name in CLASSES]
    (folder / META).write_bytes(pickled({b"num_cases_per_batch": per_batch, b"label_names": names, b"num_vis": 3072}))
    return made


def packed(folder, target, extra=()):
    """The folder as a packed tar with ``cifar-10-batches-py/`` before the names, and further members after it."""
    with tarfile.open(target, "w:gz") as archive:
        archive.add(folder, "cifar-10-batches-py")
        for info, content in extra:
            archive.addfile(info, io.BytesIO(content))
    return target


def member(name, kind=tarfile.REGTYPE, content=b"", link=""):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(content), link
    return info, content


class Malice:
    """Unpickled by ``pickle`` it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def malicious(path) -> bytes:
    return pickle.dumps({b"data": Malice(path)}, protocol=2)


def tone(path, seconds=0.5, pitch=440.0, channels=1, rate=RATE):
    """A wave file of a tone whose loudness rises."""
    import soundfile

    time = np.arange(round(seconds * rate)) / rate
    wave = (0.5 * np.sin(2 * np.pi * pitch * time) * np.linspace(0.1, 1, len(time))).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.stack([wave] * channels, axis=1) if channels > 1 else wave, rate)
    return wave


def gtzan(folder, clips=20):
    """GTZAN with two genres; ``jazz.00005`` is broken, as one of the real ones is."""
    for genre in GENRES:
        for number in range(clips):
            tone(folder / "genres" / genre / f"{genre}.{number:05d}.wav", 0.3, 200 + 50 * number)
    (folder / "genres" / "jazz" / "jazz.00005.wav").write_bytes(b"RIFF\0\0no wave at all")
    return folder


def fsd50k(folder, dev=12, evaluated=5):
    """FSD50K with four classes; clip 100 has none of them, clip 101 all."""
    truth = folder / "FSD50K.ground_truth"
    truth.mkdir(parents=True)
    (truth / "vocabulary.csv").write_text("0,Bark,/m/1\n1,Dog,/m/2\n2,Rain,/m/3\n3,Walk_and_run,/m/4\n")
    sets = ["", "Bark,Dog,Rain,Walk_and_run", "Bark,Dog", "Rain", "Dog,Rain", "Walk_and_run"]
    lines = {"dev": ["fname,labels,mids,split"], "eval": ["fname,labels,mids"]}
    for part, first, count in (("dev", 100, dev), ("eval", 900, evaluated)):
        for number in range(count):
            split = f",{'val' if number % 4 == 3 else 'train'}" if part == "dev" else ""
            lines[part].append(f'{first + number},"{sets[number % 6]}","/m/x"{split}')
            tone(
                folder / f"FSD50K.{part}_audio" / f"{first + number}.wav", 0.1 + 0.15 * number, channels=1 + number % 2
            )
        (truth / f"{part}.csv").write_text("\n".join(lines[part]) + "\n")
    return folder
