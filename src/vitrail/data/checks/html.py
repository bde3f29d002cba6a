"""The report as one HTML file: no scripts, no other files, everything escaped."""

from __future__ import annotations

from html import escape
from pathlib import Path

from vitrail.atomic import make_folder, write_atomically
from vitrail.data.checks.codes import CODES
from vitrail.data.checks.finding import Finding, shown_path
from vitrail.data.checks.pictures import encode, pictures_of
from vitrail.data.checks.report import Report
from vitrail.data.page import document, inline_jpeg

PICTURES = 36
"""Findings shown as pictures."""
PER_KIND = 3
"""Of one code and severity."""


def write_html(report: Report, target: Path) -> Path:
    """Write the report with pictures of the worst findings.

    Parameters
    ----------
    target:
        A file ending in .html or .htm, or a folder (made if missing) for ``check.html``.

    Returns
    -------
    Where it lies.

    Raises
    ------
    OutputError
        it cannot be written.
    """
    if target.suffix.lower() not in (".html", ".htm"):
        target = make_folder(target) / "check.html"
    else:
        make_folder(target.parent)
    # A file name that is no Unicode is shown with an escape for the byte.
    content = page(report).encode("utf-8", "backslashreplace")
    return write_atomically(target, lambda file: file.write(content))


def page(report: Report) -> str:
    """The whole document."""
    parts = [
        f"<h1>{escape(str(report.root))}</h1>",
        f"<p>{_head(report)}</p>",
        _advice(report),
        _findings(report),
        _classes(report),
    ]
    return document(f"vitrail data check: {report.root}", parts)


def _head(report: Report) -> str:
    lines = [f"<b>{escape(report.summary())}</b>, {report.seconds:,.1f} s"]
    if report.format:
        why = f" ({escape(report.reason)})" if report.reason else ""
        lines.append(f"read as {escape(report.format)}{why}")
    others = [name for name, _ in report.looks_like if name != report.format]
    if others:
        lines.append(f"also looks like {escape(', '.join(others))}")
    splits = ", ".join(f"{escape(name)} {count:,}" for name, count in report.samples.items())
    if splits:
        lines.append(f"samples: {splits}")
    lines += [escape(remark) for remark in report.remarks]
    return "<br>".join(lines)


def _advice(report: Report) -> str:
    if not report.advice:
        return ""
    items = "".join(f"<li>{escape(one.text)}</li>" for one in report.advice)
    return f"<h2>What to do</h2><ul>{items}</ul>"


def _findings(report: Report) -> str:
    kinds = report.findings.kinds()
    if not kinds:
        return "<h2>Findings</h2><p>Nothing was found.</p>"
    rows = "".join(
        f'<tr><td class="{severity}">{severity}</td>'
        f'<td><a href="#{_anchor(code, severity)}"><code>{escape(code)}</code></a></td>'
        f'<td class="n">{report.findings.counts[code, severity]:,}</td>'
        f"<td>{escape(_meaning(code))}</td></tr>"
        for code, severity in kinds
    )
    head = '<tr><th></th><th>code</th><th class="n">count</th><th>meaning</th></tr>'
    parts = [f"<h2>Findings</h2><table>{head}{rows}</table>"]
    left = PICTURES
    for code, severity in kinds:
        found = report.findings.of(code, severity)
        shots: list[str] = []
        for finding in sorted(found, key=lambda one: -one.weight):
            if len(shots) == min(PER_KIND, left):
                break
            if shot := _figure(finding, report):
                shots.append(shot)
        left -= len(shots)
        total = report.findings.counts[code, severity]
        parts.append(
            f'<h3 id="{_anchor(code, severity)}"><span class="{severity}">{severity}</span> '
            f"<code>{escape(code)}</code> ({total:,})</h3>"
        )
        if shots:
            parts.append(f'<div class="shots">{"".join(shots)}</div>')
        parts.append(_table(found, total, report))
    return "\n".join(parts)


def _table(found: list[Finding], total: int, report: Report) -> str:
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td>{escape(cell)}</td>"
            for cell in (
                one.problem.split,
                _file(one, report.root),
                one.problem.id,
                one.problem.value,
                one.problem.expected,
            )
        )
        + "</tr>"
        for one in found
    )
    head = "<tr><th>split</th><th>file</th><th>id</th><th>found</th><th>expected</th></tr>"
    advice = dict.fromkeys(one.problem.advice for one in found if one.problem.advice)
    told = "".join(f'<p class="dim">{escape(text)}</p>' for text in list(advice)[:3])
    listed = f"{len(found):,} of {total:,}" if len(found) < total else f"{total:,}"
    shown = "" if len(found) > 20 else " open"
    return f"{told}<details{shown}><summary>{listed}</summary><table>{head}{rows}</table></details>"


def _figure(finding: Finding, report: Report) -> str:
    pictures = pictures_of(finding, report.sources)
    if not pictures:
        return ""
    problem = finding.problem
    images = "".join(inline_jpeg(encode(picture), problem.id) for picture in pictures)
    name = " ".join(
        dict.fromkeys(part for part in (_file(finding, report.root), problem.id) if part)
    )
    caption = f"<b>{escape(name)}</b><br>{escape(problem.value)}"
    return f"<figure>{images}<figcaption>{caption}</figcaption></figure>"


def _classes(report: Report) -> str:
    rows = report.classes()
    if not rows:
        return ""
    assert report.totals is not None
    maps = report.totals.has_maps
    unit = "pixels" if maps else "objects"
    most = max(max(row[unit] for row in rows), 1)
    splits = list(report.totals.splits)
    heads = "".join(f'<th class="n">{escape(name)}</th>' for name in splits)
    weights = next((one.value for one in report.advice if one.about == "class-weights"), {})
    lines = [
        f'<h2>Classes</h2><table><tr><th class="n">id</th><th>class</th><th class="n">pixels</th>'
        f'<th class="n">objects</th><th class="n">images</th><th class="n">weight</th>'
        f"{heads}<th>share of {unit}</th></tr>"
    ]
    for row in rows:
        parts = "".join(f'<td class="n">{row["splits"][name][unit]:,}</td>' for name in splits)
        width = 10 * row[unit] / most
        weight = weights.get(row["name"], "")
        lines.append(
            f'<tr><td class="n">{row["id"]}</td><td>{escape(row["name"])}</td>'
            f'<td class="n">{row["pixels"]:,}</td><td class="n">{row["objects"]:,}</td>'
            f'<td class="n">{row["images"]:,}</td><td class="n">{weight}</td>{parts}'
            f'<td><span class="bar" style="width:{width:.2f}rem"></span></td></tr>'
        )
    return "".join(lines) + "</table>"


def _file(finding: Finding, root: Path) -> str:
    """The file's path, from the data set's root where it lies below that."""
    return shown_path(finding.problem.file, root)


def _meaning(code: str) -> str:
    return CODES[code].meaning if code in CODES else ""


def _anchor(code: str, severity: str) -> str:
    return escape(f"{severity}-{code}")
