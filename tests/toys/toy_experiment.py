"""A tiny experiment for tests, from made-up text to a mixture, and stages run in a process of their own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property

import toy_processes
from toy_processes import CHECKOUT, ENVIRONMENT

from corpus import Invented, Mix, Tokenize, Tokenizer
from presight.assembly import dump
from presight.store import Store
from pretrain import Train

ITEM, BATCH = 64, 16
ITEMS = 250  # the last of 16 batches has 10 items
PROGRAM = """
import json, sys
from pathlib import Path
from presight.errors import PresightError
from presight.assembly import load
from presight.store import Store
jobs = [(Store(Path(root)), load(document)) for root, document in json.load(sys.stdin)]
{before}
try:
    for store, stage in jobs:
        store.perform(stage)
except PresightError as error:
    sys.exit(print(error, file=sys.stderr) or error.code)
"""


# parameters above this size are parted by ZeRO 3: with it the tiny model is as large models are
PARTED = """
from pretrain import engine
described = engine.configuration
def small(*given):
    found = described(*given)
    return found | {"zero_optimization": found["zero_optimization"] | {"stage3_param_persistence_threshold": 100}}
engine.configuration = small
"""


@dataclass
class Tiny:
    """A store with the stages that are in it; ``train`` makes more of them."""

    store: Store
    text: Invented
    tokenizer: Tokenizer
    tokens: Tokenize
    mixture: Mix

    def path(self, stage):
        return self.store.path(stage)

    @cached_property
    def train(self):
        return Train(mixture=self.mixture, model="tiny", batch=BATCH, learning_rate=3e-3, milestones=3)


def tiny(root):
    """Text, tokenizer, tokens and mixture, made in this process in a second or two."""
    text = Invented(documents=150)
    tokenizer = Tokenizer(documents=text, vocabulary=512)
    tokens = Tokenize(documents=text, tokenizer=tokenizer, parts=2, heldout=0.1)
    shares = {"web": 55, "code": 30, "math": 15}
    mixture = Mix(tokens=tokens, sources=shares, budget=ITEMS * ITEM, item=ITEM)
    made = Tiny(Store(root), text, tokenizer, tokens, mixture)
    for stage in (text, tokenizer, tokens, mixture):
        made.store.perform(stage)
    return made


def varied(stage, **fields):
    """The stage with some fields changed."""
    return stage.changed(**fields)


def spawn(*jobs, before="", **environment):
    """Perform pairs of store and stage in a process of their own, after the lines ``before``; how it ended."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before)],
        input=json.dumps([(str(store.root), dump(stage)) for store, stage in jobs]),
        env={**os.environ, **ENVIRONMENT, **environment},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def forked(*jobs, before="", ranks=1):
    """The same in a process, or several ranks, forked off one that has imported what is slow to import."""
    return toy_processes.begin([(str(store.root), dump(stage)) for store, stage in jobs], before, ranks).wait()


def beside(store, root, *stages):
    """Another store that has the artifacts of these stages, by link."""
    other = Store(root)
    for stage in stages:
        target = other.path(stage)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(store.path(stage))
    return other


def payload(folder):
    """The bytes of an artifact's result, by name: neither card nor log."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = {str(path.relative_to(folder)): path for path in files}
    return {name: path.read_bytes() for name, path in names.items() if name.split("/")[0] not in ("card.json", "log")}
