"""A loss curve as SVG."""

from __future__ import annotations

import pathlib
from typing import List, Sequence, Tuple

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 640, 360, 56, 40


def write(path: pathlib.Path, title: str,
          points: Sequence[Tuple[float, float]], x_title: str,
          y_title: str) -> None:
    """Draws (x, y) points as one line, from x = 0 on; y begins at the
    smallest."""
    x_max = max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    margin = (high - low) * 0.05 or 1.0
    low, high = low - margin, high + margin

    def at(x: float, y: float) -> Tuple[float, float]:
        return (_LEFT + x / x_max * (_WIDTH - _LEFT - 16),
                32 + (high - y) / (high - low) * (_HEIGHT - 32 - _BOTTOM))

    line = " ".join("{:.1f},{:.1f}".format(*at(x, y)) for x, y in points)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" '
        f'height="{_HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(_WIDTH / 2, 20, title, "middle"),
        _text(_WIDTH / 2, _HEIGHT - 8, x_title, "middle"),
        _text(8, 20, y_title, "start"),
        *_grid(at, x_max, low, high),
        f'<polyline points="{line}" fill="none" stroke="#1f6fb4" '
        'stroke-width="1.5"/>', "</svg>", ""]
    path.write_text("\n".join(parts), encoding="utf-8")


def _grid(at: object, x_max: float, low: float, high: float) -> List[str]:
    parts = []
    for index in range(6):
        x, y = x_max * index / 5, low + (high - low) * index / 5
        column, row = at(x, low)[0], at(0, y)[1]  # type: ignore[operator]
        parts += [
            f'<path d="M{_LEFT},{row:.1f} H{_WIDTH - 16}" stroke="#ddd"/>',
            _text(_LEFT - 6, row + 4, f"{y:.2f}", "end"),
            _text(column, _HEIGHT - _BOTTOM + 16, f"{x:.0f}", "middle")]
    return parts


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
            f'{text}</text>')
