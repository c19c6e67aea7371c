"""Equalised odds as Fairlearn has it, and Holm's correction as statsmodels' textbook form."""

from __future__ import annotations

import numpy as np
import pytest
from fairlearn.metrics import equalized_odds_difference
from hypothesis import given
from hypothesis import strategies as st

from bedside.metrics.fairness import equalised_odds_difference, holm

CASES = st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 3)), min_size=4, max_size=80)


@given(CASES)
def test_equalised_odds_is_fairlearns(cases) -> None:
    has, called = (np.asarray([one[k] for one in cases], dtype=bool) for k in (0, 1))
    groups = np.asarray([one[2] for one in cases])
    theirs = equalized_odds_difference(has.astype(int), called.astype(int), sensitive_features=groups)
    if has.any() and (~has).any():
        assert equalised_odds_difference(has, called, groups) == pytest.approx(theirs, abs=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_is_the_textbook_form(p) -> None:
    ranked = sorted(p)
    slow = [min(1.0, max((len(p) - k) * ranked[k] for k in range(ranked.index(one) + 1))) for one in p]
    # Equal p-values share the largest adjusted one of their places' predecessors; the first place decides.
    assert holm(p)[np.argsort(p, kind="stable")[0]] == pytest.approx(min(1.0, len(p) * ranked[0]))
    assert (holm(p) >= np.asarray(p) - 1e-15).all()
    assert (np.diff(holm(p)[np.argsort(p, kind="stable")]) >= 0).all()
    if len(set(p)) == len(p):
        assert holm(p) == pytest.approx(np.asarray(slow), abs=1e-12)
