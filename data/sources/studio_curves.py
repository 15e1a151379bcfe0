"""Outlines for the studio: smooth lines through control points, as float [n, 2] polygons of x (right) and y (down).

A control point is (x, y) or (x, y, smoothness): 1, the default, flows through the point, 0 makes a corner.
"""

import numpy as np


def curve(points, closed: bool = True, *, steps: int = 10):
    """A smooth line through control points (a cubic Hermite spline): float [n, 2]."""
    knots = np.array([point[:2] for point in points], np.float64)
    smooth = np.array([point[2] if len(point) > 2 else 1.0 for point in points])[:, None]
    around = np.concatenate([knots[-1:], knots, knots[:1]] if closed else [knots[:1], knots, knots[-1:]])
    tangent = 0.5 * (around[2:] - around[:-2]) * smooth
    stop, arrive = np.roll(knots, -1, 0), np.roll(tangent, -1, 0)
    t = np.linspace(0.0, 1.0, steps, endpoint=False)[:, None]
    ease = t * t * (3 - 2 * t)
    line = (
        (1 - ease) * knots[:, None]
        + ease * stop[:, None]
        + t * (1 - t) * ((1 - t) * tangent[:, None] - t * arrive[:, None])
    )
    return line.reshape(-1, 2) if closed else np.concatenate([line[:-1].reshape(-1, 2), knots[-1:]])


def mirrored(half):
    """The closed curve whose right half, from top to bottom, goes through the points `half`."""
    left = [(-point[0], *point[1:]) for point in reversed(half) if point[0] != 0]
    return curve([*half, *left])


def flipped(outline):
    """The outline mirrored left to right."""
    return outline * np.array([-1.0, 1.0])


def ribbon(points, width):
    """A band along a smooth line; `width` is a number, or one for each end."""
    line = curve(points, closed=False)
    along = np.gradient(line, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    half = 0.5 * np.linspace(*(width if isinstance(width, tuple) else (width, width)), len(line))[:, None]
    across = along[:, ::-1] * np.array([1.0, -1.0]) * half
    return np.concatenate([line + across, (line - across)[::-1]])


def oval(x, y, width, height, *, power: float = 2.0):
    """An ellipse about (x, y); a `power` above 2 squares it towards a box."""
    turn = np.linspace(0.0, 2 * np.pi, 48, endpoint=False)
    unit = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    return np.array([x, y]) + 0.5 * np.array([width, height]) * np.sign(unit) * np.abs(unit) ** (2.0 / power)
