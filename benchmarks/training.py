"""A training step of ours beside a plain autocast loop and transformers' Trainer: speed, memory, waiting.

    python benchmarks/training.py [--models 7m 33m] [--dtype bf16] [--steps 12] [--rounds 3] [--threads 2]
                                  [--vocabulary 8192]

All train the same Llama on the same random tokens in one arithmetic with AdamW, on this machine's processor: bf16 if
that multiplies in it (avx512_bf16, amx_bf16), else ask for fp32: emulation is some eighty times slower. Each
contestant is a process of its own; rounds alternate between them, and the best median of each counts. Ours is the
step that ``pretrain.Train`` takes, with losses by source, agreement of ranks and metrics. transformers' Trainer needs
``pip install accelerate``; without it the table has a line less.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

BATCH = {"7m": (16, 256), "33m": (8, 512), "1m": (16, 256), "tiny": (16, 64)}  # items, tokens an item


def tokens(name: str, vocabulary: int, count: int):
    """Random tokens [count, batch, item]: what is learned does not matter here."""
    import numpy as np

    batch, item = BATCH[name]
    return np.random.default_rng(0).integers(1, vocabulary, (count, batch, item))


def fresh(name: str, vocabulary: int):
    from pretrain.model import configuration, initialise

    return initialise(configuration(name, vocabulary, BATCH[name][1], 0), 0)


def presight(name: str, vocabulary: int, steps: int, dtype: str) -> dict:
    import numpy as np

    from pretrain import engine
    from pretrain.batches import Batch, Items
    from pretrain.course import Course
    from pretrain.curves import Speed
    from pretrain.loss import Objective
    from pretrain.rolling import Rolling, State
    from pretrain.run import Run
    from pretrain.train import Train

    data = tokens(name, vocabulary, steps + 2)
    count, batch, item = data.shape
    pools = np.arange(batch, dtype=np.int16) % 4
    items = SimpleNamespace(names=["a", "b", "c", "d"], labels=(), mixture=SimpleNamespace(item=item))
    items.batch = lambda start, stop: Batch(data[start // batch].copy(), pools)
    stage = Train.model_construct(**{key: field.get_default() for key, field in Train.model_fields.items()})
    engine.begin()
    config = engine.configuration(batch, batch, 1, dtype, 1.0)
    made = engine.engine(Objective(fresh(name, vocabulary)), config, 3e-3, 0.1)
    course, speed = Course(0, count * batch, batch, 0), Speed(None, None, "", 1)
    rolling, quiet = Rolling(Path("."), 0, 1, 1), SimpleNamespace(came=False)
    run = Run(stage, stage.learning_rate, Path("."), items, None, made, course, rolling, State(), quiet, speed)
    times, waits = [], []
    for ready, waited in Items.batches(items, [course.bounds(step) for step in range(count)]):
        began = time.perf_counter()
        run._step(ready, False)
        times.append(time.perf_counter() - began)
        waits.append(waited)
    return {"seconds": times[2:], "waited": sum(waits[2:]) / sum(times[2:])}


def plain(name: str, vocabulary: int, steps: int, dtype: str) -> dict:
    import torch

    model = fresh(name, vocabulary)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.1)
    times = []
    for x in torch.from_numpy(tokens(name, vocabulary, steps + 2)):
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16"):
            loss = model(input_ids=x, labels=x).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        times.append(time.perf_counter() - began)
    return {"seconds": times[2:]}


def trainer(name: str, vocabulary: int, steps: int, dtype: str) -> dict:
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    data = tokens(name, vocabulary, steps + 2)
    rows = [{"input_ids": row, "labels": row} for row in torch.from_numpy(data.reshape(-1, data.shape[2]))]
    marks = []

    class Clock(TrainerCallback):
        def on_step_end(self, *given, **named):
            marks.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            folder,
            per_device_train_batch_size=data.shape[1],
            max_steps=steps + 2,
            bf16=dtype == "bf16",
            use_cpu=True,
            learning_rate=3e-3,
            report_to=[],
            save_strategy="no",
            logging_steps=1,
            disable_tqdm=True,
        )
        Trainer(fresh(name, vocabulary), settings, train_dataset=rows, callbacks=[Clock()]).train()
    return {"seconds": [b - a for a, b in itertools.pairwise(marks[1:])]}


def memory(name: str, vocabulary: int, chunk: int, dtype: str) -> dict:
    """Most resident memory of one forward and backward pass beyond what the model itself takes, in bytes."""
    import torch

    from pretrain.batches import IGNORED
    from pretrain.loss import Objective

    model = fresh(name, vocabulary)
    objective = Objective(model.bfloat16() if dtype == "bf16" else model, chunk)
    x = torch.from_numpy(tokens(name, vocabulary, 1)[0])
    y = torch.nn.functional.pad(x[:, 1:], (0, 1), value=IGNORED)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    total, _ = objective(x, y, torch.ones(x.shape) / x.numel())
    total.backward()
    return {"bytes": 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)}


def peak(dtype: str) -> dict:
    """Matrix products of this processor, in operations a second."""
    from pretrain.peaks import matmul_peak

    return {"peak": matmul_peak(dtype, 2.0)}


CONTESTANTS = {"presight": presight, "plain": plain, "trainer": trainer}


def alone(arguments: argparse.Namespace, **wanted: object) -> dict:
    """Run one contestant in a process of its own."""
    threads = {name: str(arguments.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-P", __file__, "--one", json.dumps({**wanted, "dtype": arguments.dtype})],
        env=os.environ | threads | {"TOKENIZERS_PARALLELISM": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["7m", "33m"], choices=list(BATCH))
    parser.add_argument("--dtype", default="bf16", choices=["bf16", "fp32"])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        wanted = json.loads(arguments.one)
        what = wanted.pop("what")
        found = {"memory": memory, "peak": peak, **CONTESTANTS}[what](**wanted)
        print(json.dumps(found))
        return
    from pretrain.model import shape

    if importlib.util.find_spec("accelerate") is None:
        del CONTESTANTS["trainer"]
    most = alone(arguments, what="peak")["peak"]
    for name in arguments.models:
        batch, item = BATCH[name]
        best, waited = dict.fromkeys(CONTESTANTS, float("inf")), 0.0
        for _ in range(arguments.rounds):
            for what in CONTESTANTS:
                found = alone(arguments, what=what, name=name, vocabulary=arguments.vocabulary, steps=arguments.steps)
                best[what] = min(best[what], sorted(found["seconds"])[len(found["seconds"]) // 2])
                waited = max(waited, found.get("waited", 0.0))
        flops = shape(name).flops(arguments.vocabulary, item)
        print(
            f"\n{name}, {arguments.dtype}, {batch} × {item} tokens a step, vocabulary {arguments.vocabulary}, "
            f"{arguments.threads} threads"
        )
        for what, seconds in best.items():
            rate, ratio = batch * item / seconds, seconds / best["presight"]
            share = f"{flops * rate / most:.0%} of the matmul peak"
            print(f"  {what:9} {rate:8.0f} tokens/s   {share}   ours is {ratio:.2f}× as fast", flush=True)
        print(f"  waiting for data, at most: {100 * waited:.2f} % of the steps' time")
    for name in arguments.models:
        full, ours = (
            alone(arguments, what="memory", name=name, vocabulary=32768, chunk=chunk)["bytes"] for chunk in (0, 512)
        )
        found = f"{ours / 1e6:.0f} MB beyond the model, with all logits {full / 1e6:.0f} MB: {ours / full:.2f}"
        print(f"\n{name}, vocabulary 32,768: {found}")


if __name__ == "__main__":
    main()
