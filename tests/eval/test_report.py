import builtins
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest

from corpus.mixture import FILE, Mixture, compile_mixture
from eval.report import Report
from eval.stats import holm, mean_interval, prior_delta
from presight.errors import PresightError
from presight.stage import FrozenMap, Labelled, Needs, Stage
from presight.store import Store

SOURCES = ("web", "encyclopedia", "academia", "literature", "math", "code")
SHARES = {
    "language": dict(zip(SOURCES, (50, 2.5, 2.5, 20, 5, 20), strict=True)),
    "vision": dict(zip(SOURCES, (26, 5.5, 12.5, 2, 13, 41), strict=True)),
}
TASKS = {"images": ("image classification", "image", 0.1), "sounds": ("<b>sound</b> classification", "audio", 0.25)}


class Root(Stage):
    kind = "tokens"
    name: str = "tokens"

    def run(self, out: Path, inputs: Any) -> None:
        (out / "tokens.json").write_text("{}")
        (out / "licences.json").write_text(json.dumps(["CC-BY-4.0", "<script>alert(1)</script>"]))


class Blend(Stage):
    kind = "mixture"
    tokens: Annotated[Stage, Needs("tokens")]
    shares: FrozenMap[str, float]
    missing: str = "error"

    def run(self, out: Path, inputs: Any) -> None:
        supplies = dict.fromkeys([each for each in SOURCES if each != self.missing], 4000)
        shards = {"directory": "../../tokens/x", "shards": {}}
        asked = None if self.missing == "error" else "renormalise"
        lock = compile_mixture(self.shares, supplies, 2_000_000, 256, seed=0, missing=asked or "error", tokens=shards)
        Mixture.of(lock).write(out / FILE)


class Lm(Stage):
    kind = "checkpoint"
    mixture: Annotated[Stage, Needs("mixture")]
    seed: int

    def run(self, out: Path, inputs: Any) -> None:
        lock = Mixture.read(inputs["mixture"]).lock
        pools = {pool["name"]: {"items": pool["quota"], "loss": 4.0} for pool in lock["pools"]}
        rng = np.random.default_rng(self.seed)
        lines = [
            {"step": step, "tokens": tokens, "source": source, "loss": 1.0, "bits_per_byte": found}
            for step, tokens in enumerate([0, *(2_000_000 // 2**k for k in range(6, -1, -1))])
            for source in SOURCES
            for found in [4.1 - 0.15 * np.log(1 + tokens) + 0.02 * rng.standard_normal() - 0.002 * pool(lock, source)]
        ]
        (out / "heldout.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (out / "metrics.jsonl").write_text("")
        (out / "ledger.json").write_text(json.dumps({"tokens": lock["items"] * 256, "pools": pools}))
        (out / "config.json").write_text(json.dumps({"num_hidden_layers": 4, "hidden_size": 128}))


def pool(lock: dict[str, Any], source: str) -> float:
    return 100 * sum(each["realised"] for each in lock["pools"] if each["name"] == source)


class Scored(Stage):
    kind = "scores"
    model: Annotated[Stage, Needs("checkpoint", "tokens")]
    data: str

    def run(self, out: Path, inputs: Any) -> None:
        (out / "scores.json").write_text("{}")


class Deltas(Stage):
    kind = "deltas"
    scores: tuple[Annotated[Stage, Needs("scores")], ...]
    text: str

    def run(self, out: Path, inputs: Any) -> None:
        (out / "deltas.json").write_text(self.text)


GAINS = {"text": {"language": 0.10, "vision": 0.12}, "stats": 0.035, "random": 0.0}


@dataclass
class World:
    store: Store
    report: Report
    models: list[Labelled]
    tokens: Stage

    def run(self, out: Path) -> str:
        out.mkdir(parents=True, exist_ok=True)
        inputs = {field: self.store.path(stage) for field, stage in self.report.inputs().items()}
        self.report.run(out, inputs)
        return (out / "report.html").read_text()


def world(root: Path, seeds: int = 3, edge: bool = True, ragged: bool = False) -> World:
    store = Store(root / "store")
    tokens = Root()
    labels = [{"mixture": mixture, "init": str(seed)} for mixture in SHARES for seed in range(seeds)]
    mixes = {name: Blend(tokens=tokens, shares=FrozenMap(shares)) for name, shares in SHARES.items()}
    if ragged:
        mixes["language"] = Blend(tokens=tokens, shares=FrozenMap(SHARES["language"]), missing="math")
    lms = [Labelled(FrozenMap(each), Lm(mixture=mixes[each["mixture"]], seed=int(each["init"]))) for each in labels]
    arms, stages, table = [], [], {}
    rng = np.random.default_rng(5)
    for data, (task, modality, chance) in TASKS.items():
        hard = rng.uniform(0.1, 0.6, 600)
        for weights, mixture in [
            ("text", "language"),
            ("text", "vision"),
            ("stats", "language"),
            ("stats", "vision"),
            ("random", None),
        ]:
            gain = GAINS[weights][mixture] if weights == "text" else GAINS[weights]
            gain = gain if data == "images" else gain / 6
            scores = (rng.random((seeds, 600)) < hard + gain + 0.008 * rng.standard_normal((seeds, 1))).astype(float)
            place = {"weights": weights, **({"mixture": mixture} if mixture else {}), "data": data}
            made = [
                Scored(
                    model=lms[labels.index({"mixture": mixture, "init": str(s)})].stage if mixture else tokens,
                    data=f"{data}{weights}{s}",
                )
                for s in range(seeds)
            ]
            stages += made
            found = mean_interval(scores)
            table[weights, mixture, data] = scores
            arms.append(
                {
                    "labels": place, "task": task, "modality": modality, "trained": "norms", "metric": "accuracy",
                    "accuracy": {key: getattr(found, key) for key in ("estimate", "low", "high", "level", "method")},
                    "per_seed": scores.mean(1).tolist(), "seeds": [str(s) for s in range(seeds)], "chance": chance,
                    "n_items": 600, "n_clusters": 600, "learning_rates": [0.003], "edge": edge and weights == "random",
                    "scores": [each.fingerprint for each in made],
                }
            )  # fmt: skip
    families = []
    for along, pairs in {
        "weights": [("text", m, c, m if c == "stats" else None) for m in SHARES for c in ("random", "stats")],
        "mixture": [("text", "vision", "text", "language"), ("stats", "vision", "stats", "language")],
    }.items():
        deltas = []
        for data, (task, _, _) in TASKS.items():
            for weights, mixture, control, other in pairs:
                names = (weights, control) if along == "weights" else (mixture, other)
                fixed = {"mixture": mixture} if along == "weights" else {"weights": weights}
                delta = prior_delta(
                    table[weights, mixture, data], table[control, other, data], task=task, trained="norms", along=along,
                    treatment_name=names[0], control_name=names[1], labels={**fixed, "data": data},
                )  # fmt: skip
                deltas.append(delta.to_json() | {"sentence": delta.sentence(), "established": delta.established})
        for each, p in zip(deltas, holm([each["p"] for each in deltas]), strict=True):
            each["p_holm"] = float(p)
        treatment = "text" if along == "weights" else "vision"
        text = json.dumps(
            {"along": along, "treatment": treatment, "replicate": "init", "arms": arms, "deltas": deltas}
        )
        families.append(Deltas(scores=tuple(stages), text=text))
    for stage in [tokens, *mixes.values(), *(each.stage for each in lms), *stages, *families]:
        store.perform(stage)
    blends = tuple(Labelled(FrozenMap({"mixture": name}), stage) for name, stage in mixes.items())
    title = "What reading leaves behind <&> a test"
    report = Report(deltas=tuple(families), models=tuple(lms), mixtures=blends, title=title)
    return World(store, report, lms, tokens)


class Browser:
    """Chromium over its debugging pipe: sizes are exact, and every console line and request is seen."""

    def __init__(self, program: str, profile: Path) -> None:
        theirs, ours = os.pipe(), os.pipe()
        flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
        flags += " --disable-component-update --disable-sync --disable-dev-shm-usage --remote-debugging-pipe"
        command = f'exec "$0" {flags} --user-data-dir="$1" about:blank 3<&{theirs[0]} 4>&{ours[1]}'
        self.process = subprocess.Popen(
            ["sh", "-c", command, program, str(profile)], pass_fds=(theirs[0], ours[1]), stderr=subprocess.DEVNULL
        )
        os.close(theirs[0])
        os.close(ours[1])
        self.write, self.read = os.fdopen(theirs[1], "wb", 0), os.fdopen(ours[0], "rb")
        self.count, self.session, self.events = 0, None, []
        self.pending = b""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        self.write.write(json.dumps(message | ({"sessionId": self.session} if self.session else {})).encode() + b"\0")
        while (answer := self.next()).get("id") != self.count:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def next(self) -> dict[str, Any]:
        while b"\0" not in self.pending:
            part = self.read.read1(1 << 20)
            assert part, "the browser ended"
            self.pending += part
        message, self.pending = self.pending.split(b"\0", 1)
        return json.loads(message)

    def open(self, page: str, width: int) -> None:
        self.events = []
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Page.navigate", url=page)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.next())

    def ask(self, expression: str) -> Any:
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        return found["result"].get("value")

    def complaints(self) -> list[str]:
        """Console lines, faults and refusals since the page was opened."""
        names = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [json.dumps(event["params"])[:500] for event in self.events if event.get("method") in names]

    def requests(self) -> list[str]:
        sent = [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]
        return [url for url in sent if not url.startswith("data:")]

    def close(self) -> None:
        self.write.close()
        self.read.close()
        self.process.wait(20)


@cache
def chromium() -> str | None:
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    return next(filter(None, found), None)


@pytest.fixture
def browser(tmp_path):
    if chromium() is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on PATH")
    found = Browser(chromium(), tmp_path / "profile")
    yield found
    found.close()
