"""The commands for what Outpost does at other application entities."""

from __future__ import annotations

from typing import Annotated

import typer

from edge.control import errands
from edge.model import Json
from edge.terminal import AE_TITLE, DEFAULT_STATE, JSON, PHI, STATE, STUDY, ask, console, json_lines

_HIDDEN = ("00100010", "00100020", "00100030")
_COLUMNS = {
    "patient": {"00100020": "Patient ID", "00100010": "name", "00100030": "born", "00100040": "sex"},
    "study": {
        "0020000D": "Study Instance UID",
        "00080020": "date",
        "00080061": "modalities",
        "00081030": "description",
        "00080050": "accession",
        "00201208": "instances",
        "00100020": "Patient ID",
        "00100010": "name",
    },
    "series": {"0020000E": "Series Instance UID", "00080060": "modality", "0008103E": "description", "00201209": "instances"},
    "image": {"00080018": "SOP Instance UID", "00080016": "SOP class", "00200013": "number"},
}


def echo(ae_title: AE_TITLE, state: STATE = DEFAULT_STATE, as_json: JSON = False) -> None:
    """Verify that a peer answers (C-ECHO)."""
    for row in ask(state, errands.EchoPeer(ae_title=ae_title)):
        assert isinstance(row, errands.Echoed)
        if as_json:
            json_lines([row])
        else:
            typer.echo(f"{ae_title} answered after {row.milliseconds:.0f} ms.")


def send(
    study: STUDY,
    ae_title: AE_TITLE,
    series: Annotated[str | None, typer.Option(help="Only this Series Instance UID.")] = None,
    state: STATE = DEFAULT_STATE,
    as_json: JSON = False,
) -> None:
    """Send a study to a peer (C-STORE). What is only in the archive is recalled for it. Exit code 1 when something was not taken."""
    row = errands.Sent(total=0, completed=0, warning=0, failed=0)
    for answer in ask(state, errands.SendStudy(study=study, ae_title=ae_title, series=series)):
        assert isinstance(answer, errands.Sent)
        row = answer
        if as_json:
            json_lines([row])
        else:
            typer.echo(f"\r{row.completed + row.warning} of {row.total} instances were taken by {ae_title}", nl=False)
    if not as_json:
        typer.echo()
    if row.fault:
        typer.echo(row.fault, err=True)
    raise typer.Exit(0 if row.completed + row.warning == row.total else 1)


def commit(
    study: STUDY,
    ae_title: AE_TITLE,
    wait_seconds: Annotated[float, typer.Option(help="For its report.")] = 60.0,
    state: STATE = DEFAULT_STATE,
    as_json: JSON = False,
) -> None:
    """Ask a peer to take responsibility for a study that it was sent (storage commitment). Exit code 1 unless it did for all of it."""
    for row in ask(state, errands.CommitStudy(study=study, ae_title=ae_title, wait_seconds=wait_seconds)):
        assert isinstance(row, errands.Committed)
        if as_json:
            json_lines([row])
        elif row.reasons is None:
            typer.echo(f"{ae_title} took the request for {row.total} instances, and has not reported within {wait_seconds:.0f} s.")
        else:
            failed = "".join(f", {count} failed with reason {reason}" for reason, count in sorted(row.reasons.items()))
            typer.echo(f"{ae_title} is committed to {row.total - sum(row.reasons.values())} of {row.total} instances{failed}.")
        raise typer.Exit(0 if row.reasons == {} else 1)


def query(
    ae_title: AE_TITLE,
    level: Annotated[str, typer.Option(help="patient, study, series or image.")] = "study",
    key: Annotated[list[str] | None, typer.Option("--key", "-k", help="KEYWORD=VALUE or GGGG,EEEE=VALUE; * and ? match.")] = None,
    state: STATE = DEFAULT_STATE,
    as_json: JSON = False,
    show_phi: PHI = False,
) -> None:
    """Search at a peer (C-FIND)."""
    if level not in _COLUMNS:
        raise typer.BadParameter(f"{level} is no level: use patient, study, series or image.")
    keys = dict(_pair(text) for text in key or ())
    request = errands.QueryPeer(ae_title=ae_title, level=level, keys=keys)  # type: ignore[arg-type]
    matches = [
        row.attributes if show_phi else _without_phi(row.attributes) for row in ask(state, request) if isinstance(row, errands.Match)
    ]
    if as_json:
        json_lines([errands.Match(attributes=match) for match in matches])
        return
    from rich.table import Column, Table  # noqa: PLC0415 - rich costs 60 ms at start; only what prints tables pays

    columns = {tag: title for tag, title in _COLUMNS[level].items() if show_phi or tag not in _HIDDEN}
    table = Table(*(Column(title, overflow="fold") for title in columns.values()))
    for match in matches:
        table.add_row(*(_text(match, tag) for tag in columns))
    console().print(table)


def retrieve(
    ae_title: AE_TITLE,
    study: STUDY,
    way: Annotated[str, typer.Option(help="get or move; without it get where the peer offers it. For move the peer must know us.")] = "",
    state: STATE = DEFAULT_STATE,
    as_json: JSON = False,
) -> None:
    """Have a peer send us one of its studies (C-GET or C-MOVE)."""
    if way not in {"", "get", "move"}:
        raise typer.BadParameter(f"{way} is no way: use get or move.")
    row = None
    for answer in ask(state, errands.RetrieveStudy(ae_title=ae_title, study=study, way=way)):  # type: ignore[arg-type]
        assert isinstance(answer, errands.Retrieved)
        row = answer
        if as_json:
            json_lines([row])
    if row is not None and not as_json:
        typer.echo(f"{row.completed + row.warning} instances came from {ae_title} by C-{row.way.upper()}.")


def _pair(text: str) -> tuple[str, str]:
    key, found, value = text.partition("=")
    if not found:
        raise typer.BadParameter(f"{text!r} has no '='. Write for example -k PatientID=4711.")
    return key, value


def _without_phi(match: Json) -> Json:
    return {tag: value for tag, value in match.items() if not tag.startswith("0010")}


def _text(match: Json, tag: str) -> str:
    values = match.get(tag, {}).get("Value") or []
    return ", ".join(str(value.get("Alphabetic", "")) if isinstance(value, dict) else str(value or "") for value in values)
