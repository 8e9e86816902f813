"""How a recipe stands on the cluster: stage by state, what its runs have read, why something failed."""

from __future__ import annotations

import json
import shlex
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from presight import card as cards
from presight.console import clock, number, say, table
from presight.errors import PresightError, nearest
from presight.store import WORK
from slurm import queue
from slurm.jobs import Place
from slurm.ledger import Ledger, condition
from slurm.submission import GOING

# of a stage's tasks, the state that says most about it comes first
ORDER = ("failed", "held", "running", "pending", "waiting", "cancelled", "lost", "new", "done")
TAIL = 65536  # bytes of a file that its end is looked for in


@dataclass(frozen=True, slots=True)
class Standing:
    """One stage at one place on the axes.

    Attributes:
        title, name: in the recipe.
        state: see ``slurm.ledger.condition``; or ``done``.
        job: of the task that decides the state.
        attempts: times that its tasks began.
        parts: of a sharded stage, done and all.
        tokens: read so far, and in all; 0 where it reads none.
        loss: the last one; None without.
        left: seconds to its end, by its own rate; None where unknown.
        problem: of a failure: the last error in its log.
        log: its log.
        command: that runs it by hand.
    """

    title: str
    name: str
    state: str
    job: str = ""
    attempts: int = 0
    parts: tuple[int, int] = (0, 0)
    tokens: tuple[int, int] = (0, 0)
    loss: float | None = None
    left: float | None = None
    problem: str = ""
    log: str = ""
    command: str = ""


def standings(ledger: Ledger) -> list[Standing]:
    """How each stage of a submission stands."""
    root = Path(ledger.arguments["root"])
    entries = queue.queue()
    places = ledger.places()
    by_stage: dict[str, dict[str, Place]] = {}
    for key, place in places.items():
        by_stage.setdefault(key.partition(".")[0], {})[key] = place
    accounted = queue.accounted([str(place) for place in places.values() if str(place) not in entries])
    found = []
    for fingerprint, about in ledger.stages.items():
        name = about["title"].partition("[")[0]
        keys = by_stage.get(fingerprint, {})
        histories = {key: ledger.history(key) for key in keys}
        attempts = sum(history.attempts for history in histories.values())
        if cards.read(root / "store" / about["kind"] / fingerprint):
            found.append(Standing(about["title"], name, "done", "", attempts, tokens=(about["tokens"],) * 2))
            continue
        work = root / "store" / WORK / fingerprint
        parts = len(list((work / "shards").glob("*"))), about["shards"]
        states = {
            key: condition(place, entries.get(str(place)), histories[key], accounted.get(str(place), ""))
            for key, place in keys.items()
            if "." not in key or not (work / "shards" / f"{int(key.partition('.')[2]):05d}").exists()
        }
        key = min(states, key=lambda each: ORDER.index(states[each]), default=fingerprint)
        state = states.get(key, "new")
        job, log = (str(keys[key]), ledger.log(keys[key], key)) if key in keys else ("", None)
        tokens, loss, left = _course(work / "payload", about["tokens"]) if state in GOING else (0, None, None)
        bad = state in ("failed", "held", "lost")
        found.append(
            Standing(
                about["title"],
                name,
                state,
                job,
                attempts,
                parts if about["shards"] else (0, 0),
                (tokens, about["tokens"]),
                loss,
                left,
                _problem(log, entries.get(job)) if bad else "",
                str(log or ""),
                by_hand(ledger, key) if bad else "",
            )
        )
    return found


def _course(payload: Path, total: int) -> tuple[int, float | None, float | None]:
    """Tokens, loss and seconds left of a run at work, by its ``metrics.jsonl`` and ``log/speed.jsonl``."""
    metrics, speed = _last(payload / "metrics.jsonl"), _last(payload / "log" / "speed.jsonl")
    tokens, rate = int(metrics.get("tokens", 0)), speed.get("tokens_per_second")
    return tokens, metrics.get("loss"), max(total - tokens, 0) / rate if rate and total else None


def _last(path: Path) -> dict[str, Any]:
    """The last whole line of a file of JSON lines."""
    for line in reversed(_end(path)):
        try:
            return dict(json.loads(line))
        except (ValueError, TypeError):  # half a line: it is being written
            continue
    return {}


def _end(path: Path | None) -> list[str]:
    """The last lines of a file."""
    try:
        with path.open("rb") as file:  # type: ignore[union-attr]
            file.seek(max(0, file.seek(0, 2) - TAIL))
            return file.read().decode(errors="replace").splitlines()
    except (OSError, AttributeError):
        return []


def _problem(log: Path | None, entry: queue.Entry | None) -> str:
    """The last line of a log that says what went wrong; else what SLURM says."""
    lines = [line.strip() for line in _end(log) if line.strip()]
    for wanted in ("presight: ", "Error", "error: "):
        if found := [line for line in lines if wanted in line and not line.startswith(("srun: ", "slurmstepd"))]:
            return found[-1]
    return lines[-1] if lines else f"{entry.state}: {entry.reason}" if entry else "left no log"


def by_hand(ledger: Ledger, key: str) -> str:
    """The command that runs a task here and now, on the code that its job ran."""
    fingerprint, _, shard = key.partition(".")
    code = next((job.code for job in reversed(ledger.jobs) if key in job.tasks.values()), "")
    words = [ledger.arguments["python"], "-P", "-m", "presight", "stage"]
    words += [str(ledger.folder / "stages" / f"{fingerprint}.json"), "--root", ledger.arguments["root"]]
    return f"PYTHONPATH={shlex.quote(code)} {shlex.join([*words, *(['--shard', shard] if shard else [])])}"


def show(found: list[Standing], as_json: bool) -> None:
    """Print the grid: a row a stage, then what runs, then what failed and why."""
    if as_json:
        print(json.dumps([asdict(each) for each in found], indent=1))
        return
    states = [state for state in reversed(ORDER) if any(each.state == state for each in found)]
    rows: dict[str, list[Standing]] = {}
    for each in found:
        rows.setdefault(each.name, []).append(each)
    table(
        "", ["stage", *states, "attempts", "tokens", "loss", "time left"], (_row(*row, states) for row in rows.items())
    )
    active = [each for each in found if each.state == "running" and len(rows[each.name]) > 1]
    if active:
        table("running", ["stage", "job", "attempts", "tokens", "loss", "time left"], (_line(each) for each in active))
    for each in found:
        if each.problem:
            print(f"{each.title} {each.state} (job {each.job}): {each.problem}")
            print(f"  log: {each.log or 'none'}\n  by hand: {each.command}")
    count = Counter(each.state for each in found)
    print(", ".join(f"{count[state]} {state}" for state in ORDER if count[state]))
    if count["failed"] or count["held"]:
        say("`presight slurm retry` tries what failed again, and what waits for it")
    elif count["new"] or count["lost"] or count["cancelled"]:
        say("`presight slurm submit` submits what is not under way")


def _row(name: str, each: list[Standing], states: Iterable[str]) -> list[str]:
    count = Counter(one.state for one in each)
    losses = [one.loss for one in each if one.loss is not None]
    left = [one.left for one in each if one.left is not None]
    return [
        name,
        *(str(count[state] or "") for state in states),
        str(sum(one.attempts for one in each) or ""),
        _of(sum(one.tokens[0] for one in each), sum(one.tokens[1] for one in each))
        or _of(sum(one.parts[0] for one in each), sum(one.parts[1] for one in each)),
        f"{sum(losses) / len(losses):.3f}" if losses else "",
        clock(max(left)) if left else "",
    ]


def _line(each: Standing) -> list[str]:
    loss = "" if each.loss is None else f"{each.loss:.3f}"
    left = "" if each.left is None else clock(each.left)
    return [each.title, each.job, str(each.attempts), _of(*each.tokens), loss, left]


def _of(some: int, every: int) -> str:
    return f"{number(some)} of {number(every)}" if every else ""


def chosen(ledger: Ledger, stage: str) -> list[str]:
    """Keys of the tasks of a stage: by title, name, or fingerprint's beginning.

    Raises:
        PresightError: nothing submitted is called that.
    """
    titles = {key: about["title"] for key, about in ledger.stages.items()}
    named = {
        key
        for key, title in titles.items()
        if stage in (title, title.partition("[")[0]) or (len(stage) >= 6 and key.startswith(stage))
    }
    if not named:
        known = {*titles.values(), *(title.partition("[")[0] for title in titles.values())}
        raise PresightError(f"stage {stage!r}", "was not submitted", nearest(stage, known))
    return [key for key in ledger.places() if key.partition(".")[0] in named]


def logs(ledger: Ledger, stage: str, lines: int, follow: bool) -> None:
    """Print the ends of the newest logs of a stage; the newest of them is followed where that is asked."""
    places = ledger.places()
    found = {path: key for key in chosen(ledger, stage) if (path := ledger.log(places[key], key))}
    if not found:
        raise PresightError(f"stage {stage!r}", "has written no log yet", "see `presight slurm status`")
    for path in found:
        print(f"==> {path}", *_end(path)[-lines:], sep="\n")
    newest = max(found, key=lambda path: path.stat().st_mtime)
    with newest.open() as file:
        file.seek(0, 2)
        while follow:
            if line := file.readline():
                print(line, end="", flush=True)
            else:
                time.sleep(1)


def cancel(ledger: Ledger, stage: str | None) -> list[str]:
    """Cancel the jobs of a recipe, or of one of its stages; what stands on them SLURM cancels."""
    places, entries = ledger.places(), queue.queue()
    keys = chosen(ledger, stage) if stage else list(places)
    going = [str(places[key]) for key in keys if (entry := entries.get(str(places[key]))) and entry.live]
    if going:
        queue.command("scancel", *going)
    return going
