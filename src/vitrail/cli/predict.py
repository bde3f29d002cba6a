"""``vitrail predict``: images in; overlays, masks and JSON out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from vitrail.errors import VitrailError
    from vitrail.predict.segmenter import Segmenter
    from vitrail.result import Result


def predict(
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE...", help="Files, folders, globs, http(s) URLs.")
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", help="A name from `vitrail models list`, or a .safetensors file."
        ),
    ] = "subjects-unet-mobilenetv2",
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the results; made if missing.")
    ] = Path("vitrail-out"),
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", "-s", metavar="KEY=VALUE", help="A parameter of the model; repeatable."
        ),
    ] = None,
    refine: Annotated[
        str | None,
        typer.Option(help="crf: borders onto the picture's edges (networks; --set crf.KEY=VALUE)."),
    ] = None,
    crops: Annotated[
        bool, typer.Option("--crops", help="Also cut each object out, as a transparent PNG.")
    ] = False,
    sheet: Annotated[
        bool, typer.Option("--sheet", help="Also write contact-sheet.jpg, all overlays in one.")
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Also write region statistics, <stem>.measure.csv.")
    ] = False,
    weights: Annotated[
        Path | None, typer.Option(help="A checkpoint whose tensors replace the model's.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Images a pass through a network.")] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the outcome as JSON for other programs.")
    ] = False,
) -> None:
    """Segment images: writes <stem>.overlay.jpg, a mask PNG and <stem>.json for each."""
    import warnings

    from vitrail.predict.network_params import DetectionLimitWarning
    from vitrail.predict.segmenter import load

    params = parse_settings(settings or [])
    if refine is not None:
        params["refine"] = refine
    segmenter = load(model, weights, device=device, precision=precision, **params)
    outcome = Outcome(out, crops=crops, sheet=sheet, measure=measure, quiet=as_json)
    results = segmenter.predict(list(sources), batch_size=batch_size, on_error=outcome.fail)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DetectionLimitWarning)  # told for each image, by its name
        warnings.showwarning = _show_warning
        for result in _tracked(results, not as_json):
            outcome.add(result)
    outcome.finish(segmenter)
    if as_json:
        print(json.dumps(outcome.to_json(), indent=2))
    if outcome.failures:
        raise typer.Exit(1)


def _show_warning(message: Warning | str, *_: object) -> None:
    print(f"warning: {message}", file=sys.stderr)


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """``key=value`` pairs to parameters; values are YAML (``k=3``, ``box=[10, 20, 90, 80]``).

    A dotted key is one of a group: ``crf.iterations=5``.

    Raises
    ------
    ParameterError
        a pair without ``=``, or a value that is not valid YAML.
    """
    import yaml

    from vitrail.errors import ParameterError

    params: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key.strip():
            raise ParameterError(f"--set {setting!r}: expected key=value, such as --set k=3")
        name = key.strip().replace("-", "_")
        if name in _OPTIONS:
            option = _OPTIONS[name]
            raise ParameterError(f"--set {setting!r}: is no parameter of a model; use {option}")
        try:
            content = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError):  # ValueError: a date that no calendar has
            raise ParameterError(f"--set {setting!r}: {value!r} is not a valid value") from None
        group, dot, key = name.partition(".")
        if not dot:
            params[name] = content
            continue
        members = params.setdefault(group, {})
        if not isinstance(members, dict) or not group or not key:
            raise ParameterError(f"--set {setting!r}: expected key=value or group.key=value")
        members[key] = content
    return params


_OPTIONS = {name: f"--{name}" for name in ("device", "precision", "weights")} | {"name": "--model"}
"""What ``load`` takes beside the model's own parameters, and the option for it."""


class Outcome:
    """Writes results as they come, and remembers what to report at the end."""

    def __init__(self, out: Path, *, crops: bool, sheet: bool, measure: bool, quiet: bool) -> None:
        self.out, self.crops, self.measure, self.quiet = out, crops, measure, quiet
        self.sheet: list[tuple[str, Any]] | None = [] if sheet else None
        self.rows: list[dict[str, Any]] = []
        self.failures: list[dict[str, str]] = []
        self._stems: set[str] = set()

    def add(self, result: Result) -> None:
        """Write one result; a failure to write counts against this image alone."""
        from vitrail.errors import VitrailError
        from vitrail.result import InstanceResult

        name = (result.image.source if result.image else None) or "image"
        stem = self._free_stem(result.image.stem if result.image else "image")
        try:
            files = result.save(self.out, stem, crops=self.crops)
            if self.measure:
                table = self.out / f"{stem}.measure.csv"
                result.measure().to_csv(table)
                files.append(table)
            if self.sheet is not None:
                self.sheet.append((stem, _thumbnail(files)))
        except VitrailError as error:
            self.fail(name, error)
            return
        if isinstance(result, InstanceResult) and result.capped:
            print(
                f"warning: {name}: more than {len(result)} objects; the least certain are left out "
                "(--set max_detections=N allows more)",
                file=sys.stderr,
            )
        self.rows.append(
            {
                "source": name,
                "kind": result.kind,
                "height": result.size[0],
                "width": result.size[1],
                "found": describe(result),
                # Thousands of regions an image are too much to keep for a report nobody asked for.
                "counts": result.counts() if self.quiet else {},
                "files": [str(path) for path in files],
            }
        )

    def fail(self, name: str, error: VitrailError) -> None:
        """Report one image that did not work out, at once; the others go on."""
        message = str(error)
        self.failures.append({"source": name, "error": message})
        line = message if name in message else f"{name}: {message}"
        print(f"error: {line}", file=sys.stderr)

    def finish(self, segmenter: Segmenter) -> None:
        """Write the contact sheet and print what was found."""
        if self.sheet:
            from vitrail.errors import VitrailError
            from vitrail.result.legend import contact_sheet
            from vitrail.result.write import write_picture

            path = self.out / "contact-sheet.jpg"
            try:
                write_picture(path, contact_sheet(self.sheet))
            except VitrailError as error:
                self.fail(str(path), error)
        if self.quiet or not self.rows:
            return
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        table = Table(title=escape(segmenter.name), title_justify="left")
        for heading in ("image", "size", "found", "picture"):
            table.add_column(heading, overflow="fold")
        for row in self.rows:
            cells = (
                Path(row["source"]).name,
                f"{row['width']}×{row['height']}",
                row["found"],
                Path(row["files"][0]).name,
            )
            table.add_row(*map(escape, cells))
        console = Console()
        console.print(table)
        where = f"pictures, masks and JSON lie in {self.out}"
        console.print(where, highlight=False, markup=False, soft_wrap=True)

    def to_json(self) -> dict[str, Any]:
        """The outcome for other programs: ``results`` and ``errors``."""
        return {"results": self.rows, "errors": self.failures}

    def _free_stem(self, stem: str) -> str:
        """``cat``, then ``cat-2`` for another image of that name: none overwrites the other."""
        free, number = stem, 2
        while free.lower() in self._stems:  # some file systems do not tell Cat from cat
            free, number = f"{stem}-{number}", number + 1
        self._stems.add(free.lower())
        return free


def describe(result: Result) -> str:
    """What a result holds, in a few words for a table cell."""
    from vitrail.result import EdgeResult, SemanticResult

    if isinstance(result, EdgeResult):
        return f"edges, mean strength {float(result.strength.mean()):.3g}"
    counts = result.counts()
    if isinstance(result, SemanticResult):
        total = result.labels.size
        background = None if result.background is None else result.classes[result.background]
        shares = [
            f"{name} {pixels / total:.1%}" for name, pixels in counts.items() if name != background
        ]
        return ", ".join(shares) or "nothing but background"
    if result.kind == "regions":
        return f"{len(counts)} regions"
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "no objects"


def _thumbnail(files: list[Path]) -> Any:
    """The overlay just written, reduced: the sheet of a thousand images must fit in memory."""
    import cv2

    from vitrail.image import read_image

    picture = read_image(files[0]).rgb()  # the picture comes first
    factor = min(1.0, 480 / max(picture.shape[:2]))
    size = (max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _tracked(results: Any, show: bool) -> Any:
    """The same results, with a progress line on a terminal once there are several."""
    if not show or not sys.stderr.isatty():
        yield from results
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed} images"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        for result in results:
            yield result
            progress.advance(task)
