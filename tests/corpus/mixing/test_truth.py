import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.mixing.truth import Estimate, Records, Refusal, _limits, true_shares
from presight.errors import PresightError

FAMILIES = ("reasoning", "visual")
CELLS = [frozenset(f for f, h in zip(FAMILIES, has, strict=True) if h) for has in itertools.product([0, 1], repeat=2)]


class World:
    """Sources whose text has each family at some rate, and a classifier that errs alike on all."""

    def __init__(self, rates, hit=0.9, slip=0.06):
        self.rates, self.hit, self.slip = rates, hit, slip  # rates: {source: (reasoning, visual)}

    def cells(self):
        """Of each (source, predicted families): its part of the source, and how often each family is true in it."""
        for source, rates in self.rates.items():
            for cell in CELLS:
                part, true = 1.0, {}
                for family, rate in zip(FAMILIES, rates, strict=True):
                    hit, slip = (self.hit, self.slip) if family in cell else (1 - self.hit, 1 - self.slip)
                    part *= rate * hit + (1 - rate) * slip
                    true[family] = rate * hit / (rate * hit + (1 - rate) * slip)
                yield (source, cell), part, true

    def mixture(self, **tilt):
        """Quotas that take more or less of the text predicted to have a family, and the true shares."""
        amounts = {k: p * np.prod([tilt.get(f, 1.0) for f in k[1]]) for k, p, _ in self.cells()}
        total = sum(amounts.values())
        return amounts, {f: sum(amounts[k] / total * t[f] for k, _, t in self.cells()) for f in FAMILIES}

    def records(self, rng, windows, per_document=1, alike=0.0):
        """Annotated windows at random; a document's share their labels with probability ``alike``."""
        documents = windows // per_document
        source = rng.integers(len(self.rates), size=documents)
        rates = np.array(list(self.rates.values()))[source]
        shape = (documents, per_document, len(FAMILIES))
        own, common = rng.random(shape) < rates[:, None], rng.random((documents, 1, 2)) < rates[:, None]
        true = np.where(rng.random(shape) < alike, common, own).reshape(-1, 2)
        predicted = rng.random(true.shape) < np.where(true, self.hit, self.slip)
        return Records(
            np.repeat(np.array(list(self.rates))[source], per_document),
            dict(zip(FAMILIES, true.T, strict=True)),
            dict(zip(FAMILIES, predicted.T, strict=True)),
            np.repeat(np.arange(documents), per_document),
        )


def coverage(world, windows, runs=100, document=True, tilt=None, **options):
    """Of each family: how often its interval holds the true share, among the estimates, and how many those are."""
    quotas, truth = world.mixture(**(tilt or {"reasoning": 3.0, "visual": 0.5}))
    rng, held = np.random.default_rng(0), {family: [] for family in FAMILIES}
    for _ in range(runs):
        records = world.records(rng, windows, **options)
        records = records if document else Records(records.source, records.true, records.predicted)
        for family, found in true_shares(records, quotas).items():
            if isinstance(found, Estimate):
                held[family].append(found.low <= truth[family] <= found.high)
    return {family: (np.mean(each), len(each)) for family, each in held.items()}


@pytest.mark.parametrize(
    ("rates", "windows"),
    [
        ({"web": (0.4, 0.2)}, 400),
        ({"web": (0.3, 0.3), "code": (0.95, 0.1), "books": (0.2, 0.5)}, 1_200),
        ({f"s{k}": (0.1 + 0.1 * k, 0.3) for k in range(7)}, 1_200),  # cells are pooled
        ({f"s{k}": (0.05, 0.2) for k in range(7)}, 3_000),
        ({"web": (0.02, 0.005), "code": (0.97, 0.01)}, 1_500),  # rare, and rarely not
    ],
)
def test_intervals_cover_at_their_level(rates, windows):
    for cover, count in coverage(World(rates), windows).values():
        assert count > 30
        assert cover >= 0.9


def test_intervals_are_not_wide_for_nothing():
    cover = coverage(World({"web": (0.4, 0.2), "books": (0.2, 0.5)}), 1_000, runs=150)
    assert all(0.91 <= each <= 0.99 for each, _ in cover.values())


def test_a_rare_label_in_many_strata_is_covered():
    """Half a prior event in each stratum would put all intervals above this truth."""
    world = World({f"s{k}": (0.3, 0.004) for k in range(12)}, hit=0.8, slip=0.0005)
    assert coverage(world, 6_000, runs=40)["visual"][0] >= 0.9


def test_windows_of_one_document_count_for_fewer():
    world = World({"web": (0.4, 0.2), "books": (0.2, 0.5)}, hit=0.7, slip=0.3)
    options = {"runs": 60, "per_document": 6, "alike": 0.9, "tilt": {"reasoning": 1.0}}
    naive = coverage(world, 1_800, document=False, **options)
    honest = coverage(world, 1_800, **options)
    for family in FAMILIES:
        assert naive[family][0] < 0.9 < honest[family][0]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 200), st.integers(0, 200), st.sampled_from([0.8, 0.95, 0.99]))
def test_limits_are_those_of_the_binomial_tails(k, more, level):
    from scipy.stats import binom

    n, tail = k + more, (1 - level) / 2
    for exact in (True, False):
        (low,), (high,) = _limits(np.array([float(k)]), np.array([float(n)]), level, exact=exact)
        part = 1.0 if exact else 0.5
        above = binom.sf(k, n, low) + part * binom.pmf(k, n, low)
        below = binom.cdf(k - 1, n, high) + part * binom.pmf(k, n, high)
        assert low == 0 if k == 0 else above == pytest.approx(tail, rel=2e-3)
        assert high == 1 if k == n else below == pytest.approx(tail, rel=2e-3)


def windows_of(table):
    """Records from counts by (source, predicted, true), of one family ``visual``."""
    rows = [row for row, count in table.items() for _ in range(count)]
    source, predicted, true = zip(*rows, strict=True)
    return Records(source, {"visual": true}, {"visual": predicted})


def test_the_value_is_the_mean_of_the_rates_over_the_quotas():
    records = windows_of(
        {("web", True, True): 30, ("web", True, False): 10, ("web", False, True): 5}
        | {("web", False, False): 95, ("code", False, False): 50}
    )
    visual, none = frozenset({"visual"}), frozenset()
    found = true_shares(records, {("web", visual): 30, ("web", none): 60, ("code", none): 10})["visual"]
    assert found.value == pytest.approx(0.3 * 0.75 + 0.6 * 0.05)
    assert 0 <= found.low < found.value < found.high <= 1
    assert str(found).startswith("25.5 % (")


def test_too_few_labels_are_refused_by_source_and_count_or_counted_at_their_worst():
    records = windows_of({("web", False, False): 100, ("code", True, True): 3, ("code", True, False): 4})
    visual, none = frozenset({"visual"}), frozenset()
    found = true_shares(records, {("web", none): 90, ("code", visual): 6, ("math", visual): 4})["visual"]
    assert isinstance(found, Refusal)
    assert (found.source, found.labels, found.share) == ("code", 7, 0.06)
    assert str(found) == (
        "6 % of the mixture is code text predicted to be visual, and only 7 such windows are annotated (20 needed);"
        " so for math"
    )
    small = {("web", none): 990, ("code", visual): 6, ("math", visual): 4}
    found = true_shares(records, small)["visual"]
    only = true_shares(records, {("web", none): 1})["visual"]
    assert found.value == pytest.approx(0.006 * 3.5 / 8 + 0.004 / 2)
    assert found.low == pytest.approx(0.006 * 0.0990, abs=1e-6)
    assert found.high >= 0.99 * only.high + 0.006 * 0.8159 + 0.004
    assert isinstance(true_shares(records, small, negligible=0.001)["visual"], Refusal)
    assert isinstance(true_shares(records, {("math", none): 1})["visual"], Refusal)


def test_cells_with_few_labels_are_pooled_by_the_verdict_on_the_family_and_this_is_said():
    rng = np.random.default_rng(0)
    world = World({"web": (0.05, 0.3), "code": (0.5, 0.5)})
    records = world.records(rng, 800)
    quotas, _ = world.mixture()
    found = true_shares(records, quotas)
    assert found["visual"].pooled == ("web",)
    rich = true_shares(world.records(rng, 8_000), quotas)
    assert rich["visual"].pooled == ()


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Records(["web"], {"visual": [True, False]}, {"visual": [True]}), "records.true.visual"),
        (lambda: Records(["web"], {"visual": [True]}, {"visul": [True]}), "records.predicted.visual"),
        (lambda: Records(["web"], {}, {}, document=[1, 2]), "records.document"),
        (lambda: true_shares(windows_of({("web", True, True): 1}), {}), "quotas"),
        (lambda: true_shares(windows_of({("web", True, True): 1}), {("web", frozenset()): -1}), "quotas.web"),
        (lambda: true_shares(windows_of({("web", True, True): 1}), {("web", frozenset("x")): 1}), "quotas.web"),
    ],
)
def test_faults_name_their_field(make, field):
    with pytest.raises(PresightError) as refused:
        make()
    assert refused.value.field == field
    assert refused.value.mend
