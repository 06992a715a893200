"""The data card: one page that shows what the data are. It needs no other file and no network."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template

import numpy as np
import polars as pl

from contract.dataset import ActionUse, Column, Dataset, Part

TEMPLATE = Path(__file__).with_name("card.html")
BINS = 30
MOST_PICTURES = 60
_WIDTH, _HEIGHT = 200, 60


def render(dataset: Dataset, sample: pl.DataFrame) -> str:
    """The page. `sample` has rows to train on, from which the distributions are drawn."""
    sections = [
        _section("Rows that could not be used", _reasons(dataset), wide=True),
        _section("Worth knowing", _notes(dataset)),
        _section("Parts", _parts(dataset), wide=True),
        _section("Use of the action space", _pictures(_action_picture(use) for use in dataset.actions[:MOST_PICTURES])),
        _section(f"Distributions ({len(sample):,} rows to train on)", _distributions(dataset.columns, sample)),
        _section("Files", _files(dataset), wide=True),
    ]
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title="Data card",
        state="accepted" if dataset.accepted else "rejected",
        badge="Accepted" if dataset.accepted else "Rejected",
        reason=escape(dataset.reason),
        figures="".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in _figures(dataset)),
        sections="\n".join(section for section in sections if section),
    )


def _figures(dataset: Dataset) -> list[tuple[str, str]]:
    figures = [
        ("Rows", f"{dataset.rows:,}"),
        ("Unusable rows", f"{dataset.rejected:,}"),
        ("To train on", f"{dataset.train.rows:,}"),
        ("Held out", f"{dataset.held_out.rows:,}"),
    ]
    if dataset.train.episodes is not None:
        figures.append(("Episodes", f"{dataset.train.episodes + (dataset.held_out.episodes or 0):,}"))
    if dataset.train.mean_return is not None:
        figures.append(("Mean return", f"{dataset.train.mean_return:.5g}"))
    return figures


def _section(title: str, body: str, *, wide: bool = False) -> str:
    return f"<section{' class=wide' if wide else ''}><h2>{title}</h2>{body}</section>" if body else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str | int | None]]) -> str:
    def cell(value: str | int | None, tag: str = "td") -> str:
        if isinstance(value, int):
            return f"<{tag} class=number>{value:,}</{tag}>"
        return f"<{tag}>{'' if value is None else value}</{tag}>"

    body = "".join(f"<tr>{''.join(cell(value) for value in row)}</tr>" for row in rows)
    return f"<table><tr>{''.join(cell(name, 'th') for name in head)}</tr>{body}</table>"


def _reasons(dataset: Dataset) -> str:
    if not dataset.reasons:
        return ""
    rows: list[Sequence[str | int | None]] = []
    for reason in dataset.reasons:
        examples = [
            f"<code>{escape(one.file)}</code> row {one.row:,}: <code>{escape(one.values)}</code>"
            for one in reason.examples
        ]
        rows.append((escape(reason.reason), reason.rows, "<br>".join(examples)))
    return _table(("Reason", "Rows", "Such as"), rows)


def _notes(dataset: Dataset) -> str:
    notes = [f"{escape(what)}: {rows:,}" for what, rows in dataset.repairs.items()]
    notes += [escape(warning) for warning in dataset.warnings]
    return f"<ul>{''.join(f'<li>{note}</li>' for note in notes)}</ul>" if notes else ""


def _parts(dataset: Dataset) -> str:
    def row(name: str, part: Part) -> Sequence[str | int | None]:
        returns = None
        if part.mean_return is not None:
            returns = f"{part.mean_return:.5g} ({part.min_return:.5g} to {part.max_return:.5g})"
        return name, part.rows, part.episodes, returns, part.begins, part.ends

    head = ("Part", "Rows", "Episodes", "Return", "From", "To")
    return _table(head, [row("To train on", dataset.train), row("Held out", dataset.held_out)])


def _files(dataset: Dataset) -> str:
    return _table(
        ("File", "Bytes", "Rows", "Unusable", "Put right, or why it was refused"),
        [
            (
                f"<code>{escape(one.file)}</code>",
                one.bytes,
                one.rows,
                one.rejected,
                escape("; ".join([*([one.refused] if one.refused else []), *one.repairs])),
            )
            for one in dataset.files
        ],
    )


def _distributions(columns: Sequence[Column], sample: pl.DataFrame) -> str:
    shown = [column for column in columns if column.name in sample.columns][:MOST_PICTURES]
    return _pictures(_column_picture(column, sample[column.name]) for column in shown)


def _pictures(pictures: Iterable[str]) -> str:
    body = "".join(pictures)
    return f"<div class=small>{body}</div>" if body else ""


def _column_picture(column: Column, values: pl.Series) -> str:
    counts = np.histogram(values.to_numpy(), bins=BINS)[0]
    about = f"{column.mean:.4g} ± {column.std:.4g}, {column.min:.4g} to {column.max:.4g}"
    return _picture(column.name, about, counts.tolist())


def _action_picture(use: ActionUse) -> str:
    seen = sum(rows > 0 for rows in use.rows)
    of = f"{seen} of {len(use.rows)} {'ranges' if ' to ' in use.labels[0] else 'actions'} occur"
    return _picture(use.name, of, use.rows, use.labels)


def _picture(name: str, about: str, counts: Sequence[int], labels: Sequence[str] = ()) -> str:
    highest, width = max([1, *counts]), _WIDTH / len(counts)
    bars = []
    for index, count in enumerate(counts):
        if count:
            height = max(1.0, (_HEIGHT - 2) * count / highest)
            said = f"{labels[index]}: {count:,}" if labels else f"{count:,}"
            bars.append(
                f'<rect x="{index * width + 0.5:.1f}" y="{_HEIGHT - height:.1f}" width="{max(0.5, width - 1):.1f}" '
                f'height="{height:.1f}"><title>{escape(said)}</title></rect>'
            )
    picture = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + 1}" role="img" aria-label="{escape(name)}">{"".join(bars)}'
    line = f'<line x1="0" x2="{_WIDTH}" y1="{_HEIGHT + 0.5}" y2="{_HEIGHT + 0.5}"/></svg>'
    return f"<figure>{picture}{line}<figcaption><b>{escape(name)}</b> {escape(about)}</figcaption></figure>"
