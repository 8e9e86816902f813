"""What a plan says of pretraining: memory, tokens a second and GPU-hours of its runs, and what chains save."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from presight.expansion import Graph
    from pretrain.forecast import Forecast

GPU = "H100"  # where a recipe asks for GPUs and nobody says which


@dataclass(frozen=True, slots=True)
class Forecasts:
    """Of a recipe: by stage, its runs' forecasts; and the tokens that all runs read, as chains and by themselves."""

    gpu: str
    stages: dict[str, list[Forecast]]
    tokens: int
    alone: int

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
                    row |= {"tokens_per_second": run.rate.rate, "gpu_hours": run.rate.gpu_hours}
                    row["mfu"] = asdict(run.rate.utilisation)
                rows.append(row)
        return {"pretraining": {"gpu": self.gpu, "runs": rows, "tokens": self.tokens, "tokens_alone": self.alone}}

    def show(self) -> None:
        """Print a table, and the saving."""
        from presight.console import number, size, table
        from presight.errors import PresightError
        from pretrain.budget import fits

        rows, notes, hours = [], dict[str, None](), 0.0
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
            hours += spent
            notes[f"MFU {first.rate.utilisation.mfu:.0%}: {first.rate.utilisation.source}"] = None
            used = [f"{first.rate.utilisation.mfu:.0%}", number(first.rate.rate), f"{spent:,.3g}"]
            rows.append([*here, *used])
        if rows:
            columns = ["stage", "model", "runs", "tokens", "GPUs", "ZeRO", "memory a GPU", "fits"]
            table("", [*columns, "MFU", "tokens/s", f"{self.gpu}-hours"], rows)
            for note in notes:
                print(note)
            if hours:
                print(f"pretraining: {hours:,.3g} {self.gpu}-hours")
        if self.tokens < self.alone:
            saved = 1 - self.tokens / self.alone
            read, alone = number(self.tokens), number(self.alone)
            print(f"chains: {read} tokens are read instead of {alone}: {saved:.0%} of pretraining saved")


def of(graph: Graph, gpu: str | None, mfu: float | None) -> Forecasts | None:
    """What a recipe's plan has to say of pretraining; None where it does not pretrain.

    Args:
        graph: the recipe's.
        gpu: a card, or ``cpu``; default: the tables are left out, or of ``GPU`` where a run asks for GPUs.
        mfu: share of the peak; default: what others publish.

    Raises:
        PresightError: no such card, a layout that cannot be, or an MFU that is no share.
    """
    if not any(each.stage.tag() == "pretrain.Train" for each in graph.instances):
        return None
    from pretrain import Train
    from pretrain.forecast import forecast, tokens_alone

    runs = {each.stage.fingerprint: (each.name, each.stage) for each in graph.instances}
    trained = [(name, stage) for name, stage in runs.values() if isinstance(stage, Train)]
    stages: dict[str, list[Forecast]] = {}
    if gpu or mfu is not None or any(stage.resources.gpus for _, stage in trained):
        for name, stage in trained:
            if found := forecast(stage, gpu or GPU, mfu):
                stages.setdefault(name, []).append(found)
    everything = [stage for _, stage in trained]
    tokens = sum(stage.estimate().tokens for stage in everything)
    return Forecasts(gpu or GPU, stages, tokens, tokens_alone(everything))
