"""A second epoch over pictures: features read from their artifact against every picture through the encoder again."""

from __future__ import annotations

import argparse
import io
import os
import tempfile
import time
from pathlib import Path
from typing import Any


def draw(folder: Path, count: int, side: int) -> None:
    """Pictures of coloured shapes on noise, as PNG."""
    import numpy as np
    from PIL import Image, ImageDraw

    from adapt.vlm.pictures import Writer

    with Writer(folder) as writer:
        for number in range(count):
            rng = np.random.default_rng(number)
            made = Image.fromarray(rng.integers(0, 256, (side // 8, side // 8, 3), np.uint8)).resize((side, side))
            for _ in range(6):
                x, y, wide, high = rng.integers(0, side, 4).tolist()
                ImageDraw.Draw(made).ellipse((x, y, x + wide, y + high), fill=tuple(rng.integers(0, 256, 3).tolist()))
            written = io.BytesIO()
            made.save(written, "png")
            writer.add(written.getvalue(), "png")


def batches(keys: Any, size: int) -> list[Any]:
    return [keys[start : start + size] for start in range(0, len(keys), size)]


def main() -> None:
    """Print seconds, their ratio, and whether the features are the same."""
    import numpy as np
    import torch

    from adapt.vlm.encode import Encode
    from adapt.vlm.features import Features
    from adapt.vlm.pictures import Pictures
    from presight.console import size, table
    from presight.stage import Stage

    class Given(Stage):
        kind = "pictures"

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--side", type=int, default=224, help="pixels")
    parser.add_argument("--encoder", default="sample", help="sample, or a folder of transformers")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "1")))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        given, out = Path(name) / "pictures", Path(name) / "payload"
        given.mkdir(), out.mkdir()
        draw(given, options.pictures, options.side)
        encoder = options.encoder if options.encoder == "sample" else Path(options.encoder)
        stage = Encode(pictures=Given(), encoder=encoder, parts=1, batch=options.batch).settle(True)
        assert isinstance(stage, Encode)
        begun = time.perf_counter()
        stage.run_shard(0, out, {"pictures": given})
        once = time.perf_counter() - begun

        pictures, features = Pictures(given), Features(out)
        begun = time.perf_counter()
        read = [features.read(keys).astype(np.float32) for keys in batches(features.keys, options.batch)]
        cached = time.perf_counter() - begun

        opened, _ = stage.opened("image")
        begun = time.perf_counter()
        anew = [
            opened.encode([opened.prepare(pictures, key) for key in keys])
            for keys in batches(pictures.keys, options.batch)
        ]
        again = time.perf_counter() - begun
        same = all(np.array_equal(a, b.astype(np.float16)) for a, b in zip(read, anew, strict=True))
        held = sum(path.stat().st_size for path in out.glob("*.npy"))
    shown = f"{options.pictures} pictures of {options.side} pixels, {options.encoder}, {options.threads} threads"
    rows = [
        ("first epoch: encoded and kept", f"{once:.2f}", ""),
        ("second epoch: encoded again", f"{again:.2f}", "1"),
        ("second epoch: read", f"{cached:.3f}", f"{again / cached:.0f}"),
    ]
    table(shown, ["", "seconds", "times faster"], rows)
    print(f"features {'are' if same else 'ARE NOT'} the same in float16; they take {size(held)}")


if __name__ == "__main__":
    main()
