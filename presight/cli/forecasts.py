"""What a plan says of runs that train an LM: memory, tokens a second, GPU-hours, and what chains of budgets save."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from presight.expansion import Graph
    from pretrain.forecast import Forecast

TUNED = ("adapt.Align", "adapt.Instruct")
GPU = "H100"  # where a recipe asks for GPUs and nobody says which


@dataclass(frozen=True, slots=True)
class Forecasts:
    """Of a recipe: its runs by stage, which stages adapt, and how many runs of each have an LM of no known size.

    ``tokens`` are those that pretraining reads in chains, ``alone`` what it would read run by run.
    """

    gpu: str
    stages: dict[str, list[Forecast]]
    adapted: frozenset[str]
    unknown: dict[str, int]
    tokens: int
    alone: int

    @property
    def hours(self) -> list[str]:
        """Names of the stages whose GPU-hours are told."""
        from presight.errors import PresightError

        return [
            name
            for name, runs in self.stages.items()
            if name not in self.unknown and not any(isinstance(run.rate, PresightError) for run in runs)
        ]

    def record(self) -> dict[str, Any]:
        """For machines."""
        from presight.errors import PresightError

        rows = []
        for name, runs in self.stages.items():
            for run in runs:
                row = {"stage": name, "model": run.size, "tokens": run.tokens, "layout": asdict(run.layout)}
                row["memory"] = {**asdict(run.memory), "total": run.memory.total}
                if isinstance(run.rate, PresightError):
                    row["problem"] = str(run.rate)
                else:
                    row |= {"tokens_per_second": run.speed, "gpu_hours": run.rate.gpu_hours}
                    row["mfu"] = asdict(run.rate.utilisation)
                rows.append(row)
        told = {"gpu": self.gpu, "runs": rows, "not_counted": self.unknown}
        return {"pretraining": {**told, "tokens": self.tokens, "tokens_alone": self.alone}}

    def show(self) -> None:
        """Print a table, and the saving."""
        from presight.console import number, size, table
        from presight.errors import PresightError
        from pretrain.budget import fits

        rows, notes, hours = [], dict[str, None](), {"pretraining": 0.0, "adaptation": 0.0}
        alike: dict[Any, list[Forecast]] = {}
        for name, every in self.stages.items():
            for run in every:
                alike.setdefault((name, run.size, run.layout), []).append(run)
        for (name, _, _), runs in alike.items():
            first, tokens = runs[0], sum(run.tokens for run in runs)
            here = [name, first.size, len(runs), number(tokens), first.layout.gpus, first.layout.zero]
            held = {None: "", True: "yes", False: "no"}[fits(first.memory, self.gpu)]
            here += [size(max(run.memory.total for run in runs)), held]
            if isinstance(first.rate, PresightError):
                notes[str(first.rate)] = None
                rows.append([*here, "", "", ""])
                continue
            spent = sum(run.rate.gpu_hours for run in runs if not isinstance(run.rate, PresightError))
            hours["adaptation" if name in self.adapted else "pretraining"] += spent
            notes[f"MFU {first.rate.utilisation.mfu:.0%}: {first.rate.utilisation.source}"] = None
            used = [
                f"{first.rate.utilisation.mfu:.0%}",
                number(first.speed or 0.0),
                _hours(spent),
            ]
            rows.append([*here, *used])
        if rows:
            columns = ["stage", "model", "runs", "tokens", "GPUs", "ZeRO", "memory a GPU", "fits"]
            table("", [*columns, "MFU", "tokens/s", f"{self.gpu}-hours"], rows)
            for note in notes:
                print(note)
            if told := [f"{what}: {_hours(spent)} {self.gpu}-hours" for what, spent in hours.items() if spent]:
                print("; ".join(told))
        for name, count in self.unknown.items():
            print(f"not counted: {count} runs of {name}, whose LM is of no size in the table")
        if self.tokens < self.alone:
            saved = 1 - self.tokens / self.alone
            read, alone = number(self.tokens), number(self.alone)
            print(f"chains: {read} tokens are read instead of {alone}: {saved:.0%} of pretraining saved")


def _hours(count: float) -> str:
    """Three digits, or all before the point."""
    return f"{count:,.0f}" if count >= 100 else f"{count:.3g}"


def of(graph: Graph, gpu: str | None, mfu: float | None) -> Forecasts | None:
    """What a recipe's plan has to say of pretraining and adaptation; None where it has neither.

    Args:
        graph: the recipe's.
        gpu: a card, or ``cpu``; default: the tables are left out, or of ``GPU`` where a run asks for GPUs.
        mfu: share of the peak; default: what others publish.

    Raises:
        PresightError: no such card, a layout that cannot be, or an MFU that is no share.
    """
    runs = {each.stage.fingerprint: (each.name, each.stage) for each in graph.instances}
    trained = {key: run for key, run in runs.items() if run[1].tag() in ("pretrain.Train", *TUNED)}
    if not trained:
        return None
    from pretrain import Train
    from pretrain.forecast import forecast, tokens_alone

    stages: dict[str, list[Forecast]] = {}
    unknown: dict[str, int] = {}
    if gpu or mfu is not None or any(stage.resources.gpus for _, stage in trained.values()):
        for name, stage in trained.values():
            if found := forecast(stage, gpu or GPU, mfu):
                stages.setdefault(name, []).append(found)
            else:
                unknown[name] = unknown.get(name, 0) + 1
    adapted = frozenset(name for name, stage in trained.values() if stage.tag() in TUNED)
    everything = [stage for _, stage in trained.values() if isinstance(stage, Train)]
    tokens = sum(stage.estimate().tokens for stage in everything)
    return Forecasts(gpu or GPU, stages, adapted, unknown, tokens, tokens_alone(everything))
