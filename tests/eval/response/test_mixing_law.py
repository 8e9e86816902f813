import csv
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr

from eval.response.mixing_law import Proxies, fit_law, left_out
from eval.stats.correlation import correlation, correlation_difference
from presight.errors import PresightError

REGMIX = Path(__file__).parent / "regmix"


def proxies(seed, n=64, m=17, domains=17, sd=0.01):
    """A table in the shape of RegMix's: its true losses too, [n, domains] as a function of mixtures."""
    rng = np.random.default_rng(seed)
    prior = rng.dirichlet(np.ones(m))
    shares = rng.dirichlet(np.maximum(8 * prior, 0.1), n)
    floor, exponents = rng.uniform(1.2, 2.2, domains), rng.normal(0.3, 0.4, (domains, m))
    exponents[np.arange(domains), np.arange(domains) % m] -= 3

    def losses(mixtures):
        return floor + np.exp(mixtures @ exponents.T)

    names = [f"s{each}" for each in range(m)]
    noisy = losses(shares) + sd * rng.standard_normal((n, domains))
    return Proxies.of(names, names[:domains], shares, noisy), losses, (floor, exponents), rng.dirichlet(8 * prior, 40)


def test_a_law_without_noise_is_recovered():
    table, losses, (floor, exponents), fresh = proxies(0, n=40, m=5, domains=4, sd=0)
    law = fit_law(table)
    assert law.floor == pytest.approx(floor, abs=1e-3)
    assert law.exponents == pytest.approx(exponents, abs=1e-2)
    assert law.predict(fresh) == pytest.approx(losses(fresh), abs=1e-3)
    assert law.misfit.max() < 1e-4


def test_held_out_mixtures_are_ranked_from_sixty_four_proxies_of_seventeen_sources():
    table, losses, _, fresh = proxies(1, domains=6)
    law = fit_law(table)
    weights = table.weights({"s0": 1, "s3": 1, "s5": 2})
    assert spearmanr(law.predict(fresh) @ weights, losses(fresh) @ weights).statistic > 0.95
    assert 0.006 < law.misfit.mean() < 0.01  # 0.01 less what 18 of 64 degrees of freedom take


@pytest.mark.parametrize(("name", "lowest"), [("proxies", 5.14), ("models", 2.81)])
def test_the_tables_of_regmix_are_whole(name, lowest):
    with (REGMIX / f"{name}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    shares = np.array([[float(row[column]) for column in row if column.startswith("train_")] for row in rows])
    losses = np.array([float(row["metric/the_pile_pile_cc_val_loss"]) for row in rows])
    first = 1 if name == "proxies" else 0
    assert [int(row["index"]) for row in rows] == list(range(first, first + 64))
    assert shares.shape == (64, 17)
    assert np.abs(shares.sum(axis=1) - 1).max() < 0.0021  # three decimals each
    assert (shares >= 0).all()
    # They were logged as 32-bit numbers and keep 9 decimals or more: with a wrong digit they would be none of these.
    assert losses == pytest.approx(losses.astype(np.float32).astype(float), abs=6e-10, rel=0)
    assert lowest < losses.min() < lowest + 0.01


def test_regmixs_models_of_1b_are_ranked_by_its_proxies_of_1m():
    """Published tables, from 64 of the 512 proxies. The share of Pile-CC alone ranks the large models as well."""
    small, large = (Proxies.read(REGMIX / name, REGMIX / name) for name in ("proxies.csv", "models.csv"))
    assert small.sources == large.sources
    law, truth = fit_law(small), large.losses[:, 0]
    found = law.predict(large.shares)[:, 0]
    plane = large.shares @ np.linalg.lstsq(small.shares, small.losses[:, 0], rcond=None)[0]
    alone = -large.shares[:, large.sources.index("the_pile_pile_cc")]
    ranked = correlation(found, truth)
    assert ranked.estimate == pytest.approx(0.987, abs=0.003)
    assert ranked.low > 0.95
    assert correlation(plane, truth).estimate == pytest.approx(0.908, abs=0.003)
    assert correlation_difference(found, truth, plane, truth, draws=2000).low > 0
    assert correlation(alone, truth).estimate == pytest.approx(0.981, abs=0.001)
    assert correlation_difference(found, truth, alone, truth, draws=2000).low < 0
    assert correlation(left_out(small, law)[:, 0], small.losses[:, 0]).estimate == pytest.approx(0.912, abs=0.01)


def test_leaving_one_out_is_refitting_without_it():
    table, *_ = proxies(2, n=24, m=4, domains=2)
    law = fit_law(table)
    found = left_out(table, law)
    for row in range(0, 24, 5):
        rest = np.delete(np.arange(24), row)
        again = fit_law(Proxies.of(table.sources, table.domains, table.shares[rest], table.losses[rest]))
        assert found[row] == pytest.approx(again.predict(table.shares[[row]])[0], abs=1e-4)
    assert np.abs(found - table.losses).mean() > np.abs(law.predict(table.shares) - table.losses).mean()


@pytest.mark.parametrize("caps", [None, [0.5, 0.4, 0.3]])
def test_the_best_mixture_is_that_of_a_fine_grid(caps):
    for seed in range(4):
        table, *_ = proxies(seed, n=30, m=3, domains=3)
        law, weights = fit_law(table), table.weights({"s0": 2, "s1": 1, "s2": 1})
        steps = range(201)
        mixtures = np.array([(a, b, 200 - a - b) for a, b in itertools.product(steps, steps) if a + b <= 200]) / 200
        if caps:
            mixtures = mixtures[(mixtures <= np.array(caps) + 1e-9).all(axis=1)]
        brute = law.predict(mixtures) @ weights
        best = law.best(weights, caps)
        assert best.sum() == pytest.approx(1)
        assert (best <= (np.array(caps) + 1e-9 if caps else 1)).all()
        assert (law.predict(best[None]) @ weights)[0] <= brute.min() + 1e-9


def test_one_domains_best_mixture_is_a_corner():
    law = fit_law(proxies(3, n=30, m=4, domains=1)[0])
    best = law.best([1.0])
    assert best[law.exponents[0].argmin()] == pytest.approx(1, abs=1e-6)


def write(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


@given(
    arrays(float, st.tuples(st.integers(1, 5), st.integers(1, 4)), elements=st.floats(0.01, 1)),
    st.sampled_from([("valid_", ""), ("metric/", "_val_loss")]),
    st.randoms(),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_tables_are_read_as_they_were_written_whatever_the_order_of_their_rows(tmp_path, values, affixes, order):
    shares = values / values.sum(axis=1, keepdims=True)
    rows = list(enumerate(values.tolist()))
    order.shuffle(rows)
    names = [f"the_pile_{each}" for each in range(values.shape[1])]
    mixtures = [[index, *row] for index, row in enumerate(shares)]
    write(tmp_path / "mixtures.csv", ["index", *(f"train_{name}" for name in names)], mixtures)
    header = ["index", *(affixes[0] + name + affixes[1] for name in names), "note"]
    write(tmp_path / "losses.csv", header, [[index, *row, "fine"] for index, row in rows])
    table = Proxies.read(tmp_path / "mixtures.csv", tmp_path / "losses.csv")
    assert table.sources == table.domains == tuple(names)
    assert table.shares == pytest.approx(shares)
    assert (table.losses == values).all()


def test_malformed_tables_are_refused(tmp_path):
    good = [[0, 0.5, 0.5], [1, 0.2, 0.8]]
    write(tmp_path / "mixtures.csv", ["index", "train_a", "train_b"], good)
    cases = {
        "is no file": None,
        "no columns": (["index", "loss"], [[0, 1], [1, 2]]),
        "one file only": (["index", "valid_a"], [[0, 1], [2, 2]]),
        "no number": (["index", "valid_a"], [[0, 1], [1, "x"]]),
        "comes twice": (["index", "valid_a"], [[0, 1], [0, 2]]),
        "not finite": (["index", "valid_a"], [[0, 1], [1, "nan"]]),
    }
    for match, content in cases.items():
        path = tmp_path / f"{match.replace(' ', '_')}.csv"
        if content:
            write(path, *content)
        with pytest.raises(PresightError, match=match):
            Proxies.read(tmp_path / "mixtures.csv", path)
    with pytest.raises(PresightError, match="sums to"):
        Proxies.of(["a", "b"], ["d"], [[0.5, 0.2]], [[1.0]])
    table = proxies(0, n=10, m=4, domains=2)[0]
    with pytest.raises(PresightError, match="no losses on"):
        table.weights({"arxiv": 1})
    with pytest.raises(PresightError, match="do not determine"):
        fit_law(proxies(0, n=4, m=4, domains=1)[0])
    with pytest.raises(PresightError, match="caps"):
        fit_law(table).best([1, 1], [0.2, 0.2, 0.2, 0.2])
