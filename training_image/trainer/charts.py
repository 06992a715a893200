"""Small charts as inline SVG. Colours come from the page's style sheet, so they follow light and dark."""

import math
from collections.abc import Sequence
from html import escape

Point = tuple[float, float]

WIDTH, HEIGHT = 720, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 14, 42
SERIES_COLOURS = 8
"""Classes `series-0` to `series-7` exist in the page's style sheet; more lines begin again."""


def lines(series: dict[str, Sequence[Point]], *, x_label: str, y_label: str, threshold: float | None = None) -> str:
    """One line for each named series of (x, y)."""
    points = [point for line in series.values() for point in line]
    if not points:
        return "<p>Nothing was recorded.</p>"
    heights = [y for _, y in points] + ([threshold] if threshold is not None else [])
    plot = _Plot(x=(min(x for x, _ in points), max(x for x, _ in points)), y=(min(heights), max(heights)))
    body = [plot.axes(x_label, y_label)]
    if threshold is not None:
        body.append(plot.threshold(threshold))
    for index, (name, line) in enumerate(series.items()):
        path = " ".join(f"{plot.x(x):.1f},{plot.y(y):.1f}" for x, y in line)
        body.append(
            f'<polyline class="line series-{index % SERIES_COLOURS}" points="{path}"><title>{escape(name)}</title>'
            f"</polyline>"
        )
    return _svg(f"{y_label} over {x_label}", body)


def histogram(values: Sequence[float], *, x_label: str, y_label: str, threshold: float | None = None) -> str:
    """How often values fall into each of a few equal ranges."""
    low, high = min(values), max(values)
    if threshold is not None:
        low, high = min(low, threshold), max(high, threshold)
    if low == high:
        low, high = low - 0.5, high + 0.5
    count = min(30, max(8, math.isqrt(len(values)) * 2))
    bins = [0] * count
    for value in values:
        bins[min(count - 1, int((value - low) / (high - low) * count))] += 1
    plot = _Plot(x=(low, high), y=(0, max(bins)))
    body = [plot.axes(x_label, y_label)]
    width = (plot.x(high) - plot.x(low)) / count
    for index, number in enumerate(bins):
        if number:
            top = plot.y(number)
            body.append(
                f'<rect class="bar" x="{plot.x(low) + index * width + 1:.1f}" y="{top:.1f}" width="{width - 2:.1f}" '
                f'height="{plot.y(0) - top:.1f}"><title>{number}</title></rect>'
            )
    if threshold is not None:
        body.append(plot.vertical(threshold))
    return _svg(f"{y_label} by {x_label}", body)


class _Plot:
    """From values to places in the picture."""

    def __init__(self, *, x: Point, y: Point) -> None:
        self._xs, self._ys = _ticks(*x), _ticks(*y)
        self._x = (min(x[0], self._xs[0]), max(x[1], self._xs[-1]))
        self._y = (min(y[0], self._ys[0]), max(y[1], self._ys[-1]))

    def x(self, value: float) -> float:
        low, high = self._x
        return _LEFT + (value - low) / (high - low) * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        low, high = self._y
        return HEIGHT - _BOTTOM - (value - low) / (high - low) * (HEIGHT - _TOP - _BOTTOM)

    def axes(self, x_label: str, y_label: str) -> str:
        parts = []
        for tick in self._ys:
            at = self.y(tick)
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
            parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{_short(tick)}</text>')
        for tick in self._xs:
            at = self.x(tick)
            below = HEIGHT - _BOTTOM + 18
            parts.append(f'<text class="tick" x="{at:.1f}" y="{below}" text-anchor="middle">{_short(tick)}</text>')
        middle = (_LEFT + WIDTH - _RIGHT) / 2
        parts.append(
            f'<text class="label" x="{middle:.0f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>'
        )
        half = (_TOP + HEIGHT - _BOTTOM) / 2
        parts.append(
            f'<text class="label" transform="translate(14 {half:.0f}) rotate(-90)" text-anchor="middle">'
            f"{escape(y_label)}</text>"
        )
        return "".join(parts)

    def threshold(self, value: float) -> str:
        at = self.y(value)
        return f'<line class="threshold" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'

    def vertical(self, value: float) -> str:
        at = self.x(value)
        return f'<line class="threshold" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>'


def _svg(title: str, body: list[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(body)}</svg>'


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers that span the range."""
    if high <= low:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / 5
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(size * magnitude for size in (1, 2, 2.5, 5, 10) if size * magnitude >= rough)
    first, last = math.floor(low / step), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def _short(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 10:
            return f"{value / size:g}{unit}"
    return f"{value:.6g}"
