"""A training step of ours beside a plain autocast loop and transformers' Trainer: speed, memory, waiting.

    python benchmarks/training.py [--models 7m 33m] [--dtype bf16] [--compiled] [--steps 20] [--threads 2]
                                  [--vocabulary 8192]

All train the same Llama on the same random tokens in one arithmetic with AdamW, on this machine's processor: bf16 if
that multiplies in it (avx512_bf16, amx_bf16), else ask for fp32: emulation is some eighty times slower. Each
contestant is a process of its own, and they take turns, a step each, so that whatever else the machine does falls on
all alike; each is stopped in the others' turns, lest its threads spin in wait for work. Ratios are medians over
the rounds with 95 % intervals, tokens a second by the median step, shares of the matmul peak, which is the best of
many products, by the fastest step. Ours is the step that ``pretrain.Train`` takes, with losses by source, agreement of
ranks and metrics; its next batch, like the Trainer's rows, is random tokens in memory. ``--compiled`` compiles the
model of all, ours layer by layer. The line of kernels says what share of the peak the quickest of some steps of ours
would have, if it took no time but in matrix products and attention (compiled, that of attention's backward pass is
not told apart, and not counted). transformers' Trainer needs
``pip install accelerate``; without it the table has a line less.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

BATCH = {"7m": (16, 256), "33m": (8, 512), "1m": (16, 256), "tiny": (16, 64)}  # items, tokens an item
LAP = "@lap "  # before the seconds of a step, among whatever else a contestant prints
LOOKS = 5  # steps that are profiled, of which the quickest counts; and measurements of memory: their median
ATTENTION = "aten::_scaled_dot_product_"
KERNELS = {  # of torch, and our own, by what they do
    "matrix products": lambda name: name in ("aten::mm", "aten::addmm"),
    "attention": lambda name: name.startswith(ATTENTION) and not name.endswith("backward"),
    "attention, backward": lambda name: (
        name == "CausalAttentionBackward" or (name.startswith(ATTENTION) and name.endswith("backward"))
    ),
}


def tokens(name: str, vocabulary: int, count: int):
    """Random tokens [count, batch, item]: what is learned does not matter here."""
    import numpy as np

    batch, item = BATCH[name]
    return np.random.default_rng(0).integers(1, vocabulary, (count, batch, item))


def fresh(name: str, vocabulary: int):
    from pretrain.model import configuration, initialise

    return initialise(configuration(name, vocabulary, BATCH[name][1], 0), 0)


class Turns:
    """A contestant's turns: called between steps, tells what the last took and waits to be asked for another."""

    began = None

    def __call__(self) -> None:
        """End a step, and begin another when it is asked for."""
        if self.began is not None:
            print(f"{LAP}{time.perf_counter() - self.began}", flush=True)
        if not sys.stdin.readline():
            sys.exit()
        self.began = time.perf_counter()


def presight(name: str, vocabulary: int, steps: int, dtype: str, compiled: bool, look: bool = False) -> dict:
    """Ours in turns; or, to ``look`` into it, by itself: its share of waiting, and seconds in torch's kernels."""
    import numpy as np
    from torch.profiler import ProfilerActivity, profile

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
    if compiled:
        engine.compile_layers(made)
    course = Course(0, (count + LOOKS) * batch, batch, 0)  # steps more, to look into
    speed = Speed(None, None, "", 1)
    rolling, quiet = Rolling(Path("."), 0, 1, 1), SimpleNamespace(came=False)
    run = Run(stage, stage.learning_rate, Path("."), items, None, made, course, rolling, State(), quiet, speed)
    turn, times, waits = Turns(), [], []
    for ready, waited in Items.batches(items, [course.bounds(step) for step in range(count)]):
        if not look:
            turn()
        began = time.perf_counter()
        run._step(ready, False)
        times.append(time.perf_counter() - began)
        waits.append(waited)
    kernels: dict[str, float] = {}
    for _ in range(LOOKS):
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            run._step(ready, False)
        spent = {
            what: sum(each.cpu_time_total for each in seen.key_averages() if holds(each.key)) / 1e6
            for what, holds in KERNELS.items()
        }
        kernels = min(kernels or spent, spent, key=lambda each: sum(each.values()))
    return {"waited": sum(waits[2:]) / sum(times[2:]), "kernels": kernels}


def plain(name: str, vocabulary: int, steps: int, dtype: str, compiled: bool) -> dict:
    import torch

    model = fresh(name, vocabulary)
    if compiled:
        model.compile()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.1)
    turn = Turns()
    for x in torch.from_numpy(tokens(name, vocabulary, steps + 2)):
        turn()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16"):
            loss = model(input_ids=x, labels=x).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
    return {}


def trainer(name: str, vocabulary: int, steps: int, dtype: str, compiled: bool) -> dict:
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    data = tokens(name, vocabulary, steps + 2)
    rows = [{"input_ids": row, "labels": row} for row in torch.from_numpy(data.reshape(-1, data.shape[2]))]
    turn = Turns()

    class Clock(TrainerCallback):
        def on_step_begin(self, *given, **named):
            if turn.began is None:
                turn()

        def on_step_end(self, *given, **named):
            turn()

    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            folder,
            per_device_train_batch_size=data.shape[1],
            max_steps=steps + 2,
            bf16=dtype == "bf16",
            use_cpu=True,
            torch_compile=compiled,
            learning_rate=3e-3,
            report_to=[],
            save_strategy="no",
            logging_steps=1,
            disable_tqdm=True,
        )
        Trainer(fresh(name, vocabulary), settings, train_dataset=rows, callbacks=[Clock()]).train()
    return {}


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


def command(arguments: argparse.Namespace, **wanted: object) -> dict:
    """One contestant in a process of its own, as arguments of ``subprocess``."""
    threads = {name: str(arguments.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    return {
        "args": [sys.executable, "-P", __file__, "--one", json.dumps({**wanted, "dtype": arguments.dtype})],
        "env": os.environ | threads | {"TOKENIZERS_PARALLELISM": "false"},
        "text": True,
    }


def alone(arguments: argparse.Namespace, **wanted: object) -> dict:
    """Run one by itself."""
    done = subprocess.run(**command(arguments, **wanted), capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def median(values: list[float]) -> tuple[float, float, float]:
    """The median between the limits of its 95 % interval: order statistics, whatever the distribution."""
    from scipy.stats import binom

    ordered = sorted(values)
    place = max(0, int(binom.ppf(0.025, len(ordered), 0.5)) - 1)
    return ordered[place], statistics.median(ordered), ordered[-1 - place]


def in_turns(arguments: argparse.Namespace, name: str) -> dict[str, list[float]]:
    """Seconds of each contestant's steps but for its first two, round by round.

    A step is told when the next is asked for: each is given one more than is asked, and ended before it.
    """
    wanted = {"name": name, "vocabulary": arguments.vocabulary, "steps": arguments.steps + 1}
    laps: dict[str, list[float]] = {what: [] for what in CONTESTANTS}
    with contextlib.ExitStack() as stack:
        opened = {}
        for what in CONTESTANTS:
            errors = stack.enter_context(tempfile.TemporaryFile("w+"))
            how = command(arguments, what=what, compiled=arguments.compiled, **wanted)
            process = subprocess.Popen(**how, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
            stack.callback(process.kill)
            opened[what] = process, errors
        for _ in range(arguments.steps + 2):
            for what, (process, errors) in opened.items():
                process.send_signal(signal.SIGCONT)
                process.stdin.write("\n")
                process.stdin.flush()
                lap = next((line for line in process.stdout if line.startswith(LAP)), None)
                if lap is None:
                    errors.seek(0)
                    raise SystemExit(errors.read())
                process.send_signal(signal.SIGSTOP)  # threads that wait for work would spin in the others' turns
                laps[what].append(float(lap.removeprefix(LAP)))
    return {what: seconds[2:] for what, seconds in laps.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["7m", "33m"], choices=list(BATCH))
    parser.add_argument("--dtype", default="bf16", choices=["bf16", "fp32"])
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the stopped contestants are ended on the way out
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
        laps = in_turns(arguments, name)
        most = max(most, alone(arguments, what="peak")["peak"])  # a shared machine has bad moments
        steps = {"name": name, "vocabulary": arguments.vocabulary, "steps": 6}
        seen = alone(arguments, what="presight", compiled=arguments.compiled, look=True, **steps)
        kernels = sum(seen["kernels"].values())
        flops = shape(name).flops(arguments.vocabulary, item) * batch * item
        how = ", compiled" if arguments.compiled else ""
        print(
            f"\n{name}, {arguments.dtype}{how}, {batch} × {item} tokens a step, vocabulary "
            f"{arguments.vocabulary}, {arguments.threads} threads, peak {most / 1e9:.0f} GFLOP/s"
        )
        for what, seconds in laps.items():
            ratios = [other / own for other, own in zip(seconds, laps["presight"], strict=True)]
            low, ratio, high = median(ratios)
            share = f"{flops / min(seconds) / most:.0%} of the matmul peak"
            rate = f"{batch * item / statistics.median(seconds):8.0f} tokens/s   {share}"
            print(f"  {what:9} {rate}   ours is {ratio:.2f}× as fast [{low:.2f}, {high:.2f}]", flush=True)
        rate = f"{batch * item / kernels:8.0f} tokens/s"
        print(f"  {'kernels':9} {rate}   {flops / kernels / most:.0%} of the matmul peak")
        print("  of a step: " + ", ".join(f"{what} {spent:.2f} s" for what, spent in seen["kernels"].items()))
        print(f"  waiting for data: {100 * seen['waited']:.2f} % of the steps' time")
    for name in arguments.models:
        wanted = {"what": "memory", "name": name, "vocabulary": 32768}
        full, ours = (
            statistics.median(alone(arguments, chunk=chunk, **wanted)["bytes"] for _ in range(LOOKS))
            for chunk in (0, 512)
        )
        found = f"{ours / 1e6:.0f} MB beyond the model, with all logits {full / 1e6:.0f} MB: {ours / full:.2f}"
        print(f"\n{name}, vocabulary 32,768: {found}")


if __name__ == "__main__":
    main()
