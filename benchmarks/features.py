"""The head arm over 4 learning rates × 3 seeds: frozen features taken once against every batch through the model anew.

Both score the same: the largest difference of a probability and the answers that differ are printed beside the times.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

RATES = (3e-3, 1e-2, 3e-2, 1e-1)
SEEDS = (0, 1, 2)


def given(root: Path, size: str, train: int) -> dict[str, Path]:
    """A model of a size and made-up images, on the disk."""
    from adapt import Invented
    from pretrain.model import configuration, initialise

    places = {name: root / name for name in ("model", "data")}
    initialise(configuration(size, 4096, 256, 0), 0).save_pretrained(places["model"])
    places["data"].mkdir()
    Invented(modality="image", train=train, validation=200, test=500, noise=2.0).run(places["data"], {})
    return places


def run(places: dict[str, Path], cached: bool, epochs: int) -> tuple[list[Any], float]:
    """Scores of the test split for each seed and rate, and the seconds they took."""
    from adapt import Classify, Invented
    from adapt.caching import compute
    from adapt.classify import trunk_of
    from adapt.fitting import Start, Trunk, fit, predict
    from presight.stage import Stage

    class Checkpoint(Stage):
        kind = "checkpoint"

    scores, begun = [], time.perf_counter()
    for seed in SEEDS:
        arm = Classify(
            model=Checkpoint(),
            data=Invented(modality="image"),
            trained="head",
            learning_rate=RATES[0],
            seed=seed,
            projection=0,
        )
        task = arm.task(places["data"], "validation", "test")
        model = arm.classifier(places["model"], task)
        if cached:
            trunk = trunk_of(arm, model, task, places)
        else:
            trunk = Trunk.whole(model, task)
            model.standardise(compute(model, task.patches["train"]))
        start = Start.of(model)
        for rate in RATES:
            start.restore(model)
            fit(model, task, rate, epochs, seed, "", trunk=trunk)
            predict(model, task, "validation", trunk=trunk)
            scores.append(predict(model, task, "test", trunk=trunk))
    return scores, time.perf_counter() - begun


def main() -> None:
    """Print times, their ratio, and how far scores are apart."""
    import numpy as np

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="1m", help="a size of pretrain's table")
    parser.add_argument("--train", type=int, default=500, help="training examples")
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PRESIGHT_CACHE"] = f"{folder}/cache"
        places = given(Path(folder), options.model, options.train)
        kept, quick = run(places, True, options.epochs)
        again, slow = run(places, False, options.epochs)
    far = max(float(np.abs(one - other).max()) for one, other in zip(kept, again, strict=True))
    apart = sum(int((one.argmax(1) != other.argmax(1)).sum()) for one, other in zip(kept, again, strict=True))
    answers = sum(len(each) for each in kept)
    print(
        f"{options.model}, {options.train} images × {options.epochs} epochs, {len(RATES)} rates × {len(SEEDS)} seeds"
    )
    print(f"features once {quick:.1f} s, every batch anew {slow:.1f} s: {slow / quick:.1f} times faster")
    print(f"probabilities at most {far:.1e} apart; {apart} of {answers} answers differ")


if __name__ == "__main__":
    main()
