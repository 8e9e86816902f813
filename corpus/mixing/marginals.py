"""A mixture by label family: the marginals that were asked become quotas of cells, and the cells pools of a lock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from corpus.mixing import debias, families
from corpus.mixing import lock as locks
from corpus.mixing.amounts import Bound, Phase, as_amount, caps, cut, in_phase, items_of
from corpus.mixing.quota import Pool
from corpus.mixing.spec import Spec
from corpus.mixture import cut_supplies
from presight.errors import PresightError, nearest

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
    supplies = {source: sum(p.supply for p in pools if p.source == source) for source in cells["sources"]}
    having = frozenset().union(*(pool.families for pool in pools))
    most = caps((phase.sources for phase in spec.phases), cells["sources"], spec.max_epochs)
    quotas, shares, solution = [], np.zeros(len(names)), None
    for number, (phase, size) in enumerate(zip(spec.phases, sizes, strict=True)):
        if not size:
            quotas.append(np.zeros(len(names), dtype=np.int64))
            continue
        with in_phase(number, len(sizes)):
            solution = families.solve(
                pools,
                families=_fractions("families", phase.families, cells["by"], having),
                sources=_sources(phase, supplies, spec, size),
                overlaps=_fractions("overlaps", phase.overlaps, cells["by"], having),
                items=size,
                max_epochs=most,
                used=np.sum(quotas, axis=0).tolist() if quotas else None,
                item=spec.item,
            )
        quotas.append(solution.quotas)
        shares += solution.shares * size / items
    assert solution is not None
    total = np.sum(quotas, axis=0)
    keep = np.flatnonzero(total)
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
    chosen = [Pool(names[c], held[names[c]], float(shares[c]), int(total[c]), most[listed[names[c]][0]]) for c in keep]
    amounts = {(a["source"], frozenset(a["families"])): p.quota for p, a in zip(chosen, about, strict=True)}
    return locks.build(
        chosen,
        [[int(each[c]) for c in keep] for each in quotas],
        about,
        item=spec.item,
        seed=spec.seed,
        budget=spec.budget,
        normalised=None,
        missing=_missing(spec, supplies),
        binding=max(chosen, key=lambda pool: pool.pressure).name,
        target=spec.target,
        asked=_asked(spec),
        prices={name: round(price, 6) for name, price in solution.prices.items()},
        divergence=round(solution.divergence, 9),
        labelled=_labelled(chosen, about, cells["by"]),
        truth={}
        if cells["shuffled"]
        else debias.shares(cells["records"], cells["by"], amounts),  # a placebo means nothing
        cells={"directory": directory} | {key: cells[key] for key in ("by", "thresholds", "shuffled", "classifier")},
        tokens={key: value for key, value in tokens.items() if key != "shards"},
    )


def _fractions(
    field: str, asked: Mapping[str, float | Bound], by: list[str], having: frozenset[str]
) -> dict[Any, families.Share]:
    """Per cent as fractions of 1; overlaps by the names of their families.

    A request that allows none of families that no text has (``having`` are those that some has) holds of itself.
    """
    found: dict[Any, families.Share] = {}
    for key, value in asked.items():
        names = tuple(key.split("&")) if field == "overlaps" else (key,)
        if field == "overlaps" and len(set(names)) < 2:
            raise PresightError(f"{field}.{key}", "names no two families", "write one&other, or put it under families")
        for name in names:
            if name not in by:
                raise PresightError(f"{field}.{key}", f"the cells are not sorted by {name!r}", nearest(name, by))
        share = _share(f"{field}.{key}", value)
        if having.issuperset(names) or (share.lo if isinstance(share, families.Bound) else share):
            found[names if field == "overlaps" else key] = share
    return found


def _share(field: str, value: float | Bound) -> families.Share:
    low, high = (value.at_least, min(value.at_most, PER_CENT)) if isinstance(value, Bound) else (value, value)
    if not 0 <= low <= PER_CENT:
        raise PresightError(field, f"{low!r} is no share", "write per cent, 0 to 100")
    return families.Bound(low / PER_CENT, high / PER_CENT) if isinstance(value, Bound) else low / PER_CENT


def _sources(phase: Phase, supplies: Mapping[str, int], spec: Spec, items: int) -> dict[str, families.Share]:
    """Fixed shares of sources, beside the families; sources that are not named are free."""
    found: dict[str, families.Share] = {}
    for name, value in phase.sources.items():
        field, amount = f"sources.{name}", as_amount(value)
        if name not in supplies:
            if spec.missing == "renormalise":
                continue
            raise PresightError(field, "the tokens hold no source of that name", nearest(name, supplies))
        if amount.share is not None:
            share = _share(field, amount.share)
        else:
            count = items_of(amount, supplies[name], spec.item)
            if count > items:
                raise PresightError(field, f"its amount is {count} of {items} items", "ask for less of it")
            share = count / items
        if supplies[name]:
            found[name] = share
        elif share:
            raise PresightError(field, f"has no item of {spec.item} tokens", "leave it out, or use shorter items")
    return found


def _missing(spec: Spec, supplies: Mapping[str, int]) -> list[dict[str, Any]]:
    """Sources that were asked for and are not there, with the share of their phase that they were to have."""
    amounts = {name: as_amount(value) for phase in spec.phases[::-1] for name, value in phase.sources.items()}
    return [
        {"name": name, "share": (each.share or 0) / PER_CENT or (each.tokens or 0) / (spec.budget or 1)}
        for name, each in sorted(amounts.items())
        if name not in supplies
    ]


def _asked(spec: Spec) -> list[dict[str, Any]]:
    return [phase.model_dump(mode="json", exclude_defaults=True) for phase in spec.phases]


def _labelled(pools: list[Pool], about: list[dict[str, Any]], by: list[str]) -> dict[str, float]:
    """Share of the items that are labelled with each family."""
    total = sum(pool.quota for pool in pools)
    parts = list(zip(pools, about, strict=True))
    return {family: sum(p.quota for p, a in parts if family in a["families"]) / total for family in by}
