"""Golden values of the standard normal distribution.

    python3 make_normal.py    (needs mpmath; writes normal.csv beside itself: x, Phi(x), phi(x))
"""

import pathlib

from mpmath import erfc, exp, mp, mpf, pi, sqrt

mp.dps = 50
points = [-37.0, -30.25, -20.5, -13.0, -9.75, -6.5, -4.125, -2.5, -1.25, -0.5, -0.0625, 0.0]
points += [-x for x in points[:-1]]
rows = []
for x in map(mpf, points):
    below, density = erfc(-x / sqrt(2)) / 2, exp(-x * x / 2) / sqrt(2 * pi)
    rows.append(f"{float(x)!r},{float(below)!r},{float(density)!r}\n")
(pathlib.Path(__file__).parent / "normal.csv").write_text("".join(rows))
