"""Line charts as SVG, for pages that load nothing."""

import html
import math
from collections.abc import Mapping, Sequence

import numpy as np

WIDTH, HEIGHT = 360, 150
_LEFT, _TOP, _BOTTOM = 46, 8, 18
_POINTS = 160  # per line; longer lines are averaged in as many parts
COLOURS = ("#2a6fdb", "#d1495b", "#2e8b57", "#b8860b", "#7b4ea3", "#00838f", "#ad5700", "#5c5c5c")


def chart(lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> str:
    """Draws {name: (x, y)} as SVG, without points that are not finite; "" if no point is left.

    Lines have the colours of `COLOURS` in order, and their names as tooltips.
    """
    drawn = {name: _thinned(*line) for name, line in lines.items()}
    every = [points for points in drawn.values() if len(points)]
    if not every:
        return ""
    (left, low), (right, high) = (
        np.min([p.min(axis=0) for p in every], axis=0),
        np.max([p.max(axis=0) for p in every], axis=0),
    )
    spread = (high - low) or abs(high) or 1.0
    low, high = low - 0.04 * spread, high + 0.04 * spread
    width, height = WIDTH - _LEFT - 6, HEIGHT - _TOP - _BOTTOM

    def place(x, y):
        across = (x - left) / ((right - left) or 1)
        return f"{_LEFT + width * across:.1f},{_TOP + height * (1 - (y - low) / (high - low)):.1f}"

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">']
    for value in _ticks(low, high):
        _, y = place(left, value).split(",")
        parts.append(
            f'<path class="tick" d="M{_LEFT},{y}H{WIDTH - 6}"/><text x="{_LEFT - 4}" y="{y}" class="y">{value:.4g}</text>'
        )
    parts.append(f'<text x="{_LEFT}" y="{HEIGHT - 4}">{_short(left)}</text>')
    parts.append(f'<text x="{WIDTH - 6}" y="{HEIGHT - 4}" class="y">{_short(right)} pictures</text>')
    for index, (name, points) in enumerate(drawn.items()):
        if len(points):
            path = " ".join(place(x, y) for x, y in points)
            colour = COLOURS[index % len(COLOURS)]
            parts.append(f'<polyline points="{path}" stroke="{colour}"><title>{html.escape(name)}</title></polyline>')
    return "".join([*parts, "</svg>"])


def _thinned(x, y):
    """Returns the finite points, float64 [n, 2], averaged in parts if there are many."""
    points = np.stack([np.asarray(x, float), np.asarray(y, float)], axis=1)
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) <= _POINTS:
        return points
    return np.stack([part.mean(axis=0) for part in np.array_split(points, _POINTS)])


def _ticks(low, high):
    """Returns two to five round values between two numbers."""
    rough = (high - low) / 3
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough)
    return [round(step * k, 12) for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _short(value):
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g}"
