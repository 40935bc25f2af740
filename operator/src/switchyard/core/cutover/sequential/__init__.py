"""Tests that may be watched all the time: how sure it is by now that a candidate is worse, or is not.

Every test keeps two e-processes: nonnegative numbers that start at 1 and whose mean stays at most 1 under
their null hypothesis, at any moment somebody chooses to look. By Ville's inequality (1939) the chance that
one ever reaches 1/alpha is at most alpha, however often it is looked at. All numbers here are logarithms.

    harm  null: the candidate is at most `margin` worse.   At log(1/alpha): roll back.
    safe  null: the candidate is at least `margin` worse.  At log(1/alpha): go on.

A test is a frozen value. `update(window)` returns the next one, or the same one where the window's index is
not above that of the last: no window counts twice. `to_json` and `from_json` keep it in a few hundred bytes.

Libraries that were tried:
- savvi 0.3.1 (Lindon and Malek) installs, with matplotlib and cvxpy and its solvers. Nulls are points, so
  there is no margin, and evidence is kept in linear space, where it overflows. It serves as an oracle in the
  tests, where it is installed.
- confseq 0.0.11 (Howard, Ramdas) has no wheels, and its bindings do not compile on Python 3.11 or later.
- expectation 0.6 needs Python 3.12; ours begins at 3.11.

Formulas, promises and measured rates: docs/statistics.md.
"""
