from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.mixing.quota import Pool, apportion, check_supplies
from presight.errors import PresightError

decimals = st.decimals(0, 100, places=3).map(float)


@given(st.lists(decimals, min_size=1, max_size=12).filter(any), st.integers(0, 10**6))
def test_apportion_is_largest_remainder(shares, total):
    """Give floors, then one each to the largest remainders, the earlier first."""
    exact = [Fraction(str(share)) for share in shares]
    ideal = [share * total / sum(exact) for share in exact]
    expected = [int(x) for x in ideal]
    remainder = [x - int(x) for x in ideal]
    while sum(expected) < total:
        p = max(range(len(shares)), key=lambda p: (remainder[p], -p))
        expected[p] += 1
        remainder[p] = Fraction(-1)
    quotas = apportion(shares, total)
    assert quotas.dtype == np.int64
    assert quotas.tolist() == expected
    assert quotas.sum() == total
    assert all(abs(q - x) < 1 for q, x in zip(quotas.tolist(), ideal, strict=True))


@pytest.mark.parametrize(
    ("shares", "total", "quotas"),
    [
        ([1, 1, 1], 2, [1, 1, 0]),  # a tie goes to the earlier
        ([0.1, 0.2, 0.7], 15, [2, 3, 10]),  # 1.5, 3, 10.5: a tie in decimals, not in doubles
        ([50, 2.5, 2.5, 20, 5, 20], 1562, [781, 39, 39, 313, 78, 312]),
        ([0, 1], 5, [0, 5]),
    ],
)
def test_ties_and_known_cases(shares, total, quotas):
    assert apportion(shares, total).tolist() == quotas
    assert apportion([np.float64(share) for share in shares], total).tolist() == quotas


@given(st.data())
def test_the_mends_mend(data):
    """Both mends of a refused mixture are accepted, and nothing less is."""
    k = data.draw(st.integers(1, 6))
    shares = data.draw(st.lists(st.integers(1, 50), min_size=k, max_size=k))
    supplies = data.draw(st.lists(st.integers(1, 400), min_size=k, max_size=k))
    total, cap = data.draw(st.integers(1, 3000)), data.draw(st.sampled_from([0.5, 1.0, 1.15, 4.0]))
    exact = {f"p{i}": Fraction(share, sum(shares)) for i, share in enumerate(shares)}

    def check(total, cap):
        quotas = apportion(list(exact.values()), total).tolist()
        pools = [Pool(n, s, float(x), q, cap) for (n, x), s, q in zip(exact.items(), supplies, quotas, strict=True)]
        return check_supplies(pools, 7)

    try:
        binding = check(total, cap)
    except PresightError as error:
        words = error.mend.split()
        check(total, float(words[words.index("max_epochs") + 2]))
        if "budget" in words:
            most, remainder = divmod(int(words[words.index("budget") + 2]), 7)
            assert remainder == 0
            assert 1 <= most < total
            check(most, cap)
    else:
        assert binding.quota <= binding.supply * cap


def test_a_source_without_text_is_named_and_no_cap_is_promised():
    with pytest.raises(PresightError) as refused:
        check_supplies([Pool("a", 0, 0.5, 5, 1.0), Pool("b", 9, 0.5, 5, 1.0)], 8)
    assert str(refused.value) == (
        "sources.a: its quota of 5 items exceeds its supply of 0 × max_epochs 1; leave the source out."
    )
