"""A mixture by label family: the marginals that were asked become quotas of cells, and the cells pools of a lock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from corpus.mixing import families, truth
from corpus.mixing import lock as locks
from corpus.mixing.amounts import Amount, Bound, Phase, cut
from corpus.mixing.quota import Pool
from corpus.mixture import cut_supplies
from presight.errors import PresightError, nearest

if TYPE_CHECKING:
    from corpus.mixing.spec import Spec

PER_CENT = 100


def compile_families(
    spec: Spec, cells: Mapping[str, Any], tokens: Mapping[str, Any], directory: str
) -> dict[str, Any]:
    """The lock of a mixture by family.

    Args:
        spec: what is asked; shares are per cent of all items.
        cells: a cells artifact's description.
        tokens: what the lock says of the tokens, with ``shards`` by source.
        directory: of the cells, as seen from the lock.

    Raises:
        PresightError: a family, source or supply that cannot be met, with what would mend it.
    """
    if spec.budget is None:
        raise PresightError("budget", "is not given, but shares of families are", "give a budget")
    listed = {
        f"{source}/{name}": (source, entry)
        for source, each in cells["sources"].items()
        for name, entry in each["cells"].items()
    }
    names = sorted(listed)
    full = {name: int(listed[name][1]["items"]) for name in names}
    items = locks.whole_items(spec.budget, spec.item)
    held = cut_supplies(full, items, spec.target, spec.item)
    pools = [families.Cell(listed[name][0], frozenset(listed[name][1]["families"]), held[name]) for name in names]
    sizes = cut([phase.share for phase in spec.phases], items)
    quotas, shares, solution = [], np.zeros(len(names)), None
    for phase, size in zip(spec.phases, sizes, strict=True):
        if not size:
            quotas.append(np.zeros(len(names), dtype=np.int64))
            continue
        solution = families.solve(
            pools,
            families=_fractions("families", phase.families, cells["by"]),
            sources=_sources(phase, cells, spec, size),
            overlaps=_fractions("overlaps", phase.overlaps, cells["by"]),
            items=size,
            max_epochs=_caps(phase, cells, spec.max_epochs),
            used=np.sum(quotas, axis=0).tolist() if quotas else None,
            item=spec.item,
        )
        quotas.append(solution.quotas)
        shares += solution.shares * size / items
    assert solution is not None
    total = np.sum(quotas, axis=0)
    keep = np.flatnonzero(total)
    caps = [_caps(spec.phases[-1], cells, spec.max_epochs)[listed[name][0]] for name in names]
    about = [
        {
            "source": listed[names[c]][0],
            "families": listed[names[c]][1]["families"],
            "positions": {key: listed[names[c]][1][key] for key in ("path", "items", "bytes", "sha256")},
            "shards": tokens["shards"][listed[names[c]][0]],
        }
        | ({"of": full[names[c]]} if held[names[c]] != full[names[c]] else {})
        for c in keep
    ]
    chosen = [Pool(names[c], held[names[c]], float(shares[c]), int(total[c]), caps[c]) for c in keep]
    return locks.build(
        chosen,
        [[int(each[c]) for c in keep] for each in quotas],
        about,
        item=spec.item,
        seed=spec.seed,
        budget=spec.budget,
        normalised=None,
        missing=[],
        binding=max(chosen, key=lambda pool: pool.pressure).name,
        target=spec.target,
        asked=_asked(spec),
        prices={name: round(price, 6) for name, price in solution.prices.items()},
        divergence=round(solution.divergence, 9),
        labelled=_labelled(chosen, about, cells["by"]),
        truth=_truth(chosen, about, cells),
        cells={"directory": directory} | {key: cells[key] for key in ("by", "thresholds", "shuffled", "classifier")},
        tokens={key: value for key, value in tokens.items() if key != "shards"},
    )


def _fractions(field: str, asked: Mapping[str, float | Bound], by: list[str]) -> dict[Any, families.Share]:
    """Per cent as fractions of 1; overlaps by the names of their families."""
    found: dict[Any, families.Share] = {}
    for key, value in asked.items():
        names = tuple(key.split("&")) if field == "overlaps" else (key,)
        for name in names:
            if name not in by:
                raise PresightError(f"{field}.{key}", f"the cells are not sorted by {name!r}", nearest(name, by))
        found[names if field == "overlaps" else key] = _share(f"{field}.{key}", value)
    return found


def _share(field: str, value: float | Bound) -> families.Share:
    low, high = (value.at_least, min(value.at_most, PER_CENT)) if isinstance(value, Bound) else (value, value)
    if not 0 <= low <= PER_CENT:
        raise PresightError(field, f"{low!r} is no share", "write per cent, 0 to 100")
    return families.Bound(low / PER_CENT, high / PER_CENT) if isinstance(value, Bound) else low / PER_CENT


def _sources(phase: Phase, cells: Mapping[str, Any], spec: Spec, items: int) -> dict[str, families.Share]:
    """Fixed shares of sources, beside the families; sources that are not named are free."""
    found: dict[str, families.Share] = {}
    for name, value in phase.sources.items():
        if name not in cells["sources"]:
            if spec.missing == "renormalise":
                continue
            raise PresightError(
                f"sources.{name}", "the tokens hold no source of that name", nearest(name, cells["sources"])
            )
        amount = value if isinstance(value, Amount) else Amount(share=value)
        if amount.tokens is not None:
            found[name] = amount.tokens // spec.item / items
        elif amount.epochs is not None:
            found[name] = int(amount.epochs * cells["sources"][name]["items"]) / items
        else:
            found[name] = _share(f"sources.{name}", amount.share or 0.0)
    return found


def _caps(phase: Phase, cells: Mapping[str, Any], most: float) -> dict[str, float]:
    given = {n: v.max_epochs for n, v in phase.sources.items() if isinstance(v, Amount) and v.max_epochs is not None}
    return {name: float(given.get(name, most)) for name in cells["sources"]}


def _asked(spec: Spec) -> list[dict[str, Any]]:
    return [phase.model_dump(mode="json", exclude_defaults=True) for phase in spec.phases]


def _labelled(pools: list[Pool], about: list[dict[str, Any]], by: list[str]) -> dict[str, float]:
    """Share of the items that are labelled with each family."""
    total = sum(pool.quota for pool in pools)
    parts = list(zip(pools, about, strict=True))
    return {family: sum(p.quota for p, a in parts if family in a["families"]) / total for family in by}


def _truth(pools: list[Pool], about: list[dict[str, Any]], cells: Mapping[str, Any]) -> dict[str, Any]:
    """What the labelled shares are once the classifier's errors are taken out, or why that cannot be said.

    The errors are those on annotated windows; an item is not one of them, but has about their length.
    """
    rows = cells["records"]
    if not rows or cells["shuffled"]:  # a placebo's families are no labels
        return {}
    by = cells["by"]
    records = truth.Records(
        [row["source"] for row in rows],
        {family: [family in row["true"] for row in rows] for family in by},
        {family: [family in row["predicted"] for row in rows] for family in by},
        [row["document"] for row in rows],
    )
    quotas = {(a["source"], frozenset(a["families"])): p.quota for p, a in zip(pools, about, strict=True)}
    found = truth.true_shares(records, quotas)
    return {
        family: {"refused": str(each)}
        if isinstance(each, truth.Refusal)
        else {name: round(getattr(each, name), 6) for name in ("value", "low", "high")}
        for family, each in found.items()
    }
