"""The commands with which people decide about studies."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from edge.clock import utc
from edge.control.corrections import CorrectionRow, CorrectStudy, ListCorrections
from edge.terminal import DEFAULT_STATE, JSON, PHI, STATE, STUDY, ask, json_lines


def correct(
    study: STUDY,
    patient_name: Annotated[str | None, typer.Option(help="As Family^Given^Middle^Prefix^Suffix=ideographic=phonetic.")] = None,
    patient_id: Annotated[str | None, typer.Option(help="Patient ID.")] = None,
    issuer: Annotated[str | None, typer.Option(help="Issuer of Patient ID.")] = None,
    birth_date: Annotated[str | None, typer.Option(help="YYYYMMDD.")] = None,
    sex: Annotated[str | None, typer.Option(help="M, F or O.")] = None,
    accession: Annotated[str | None, typer.Option(help="Accession Number.")] = None,
    merge_into: Annotated[str | None, typer.Option(help="Patient ID of the patient of whom the study is.")] = None,
    rejected: Annotated[bool | None, typer.Option("--reject/--accept", help="The study is not to be used; or it is, after all.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take back everything that was said of the study.")] = False,
    state: STATE = DEFAULT_STATE,
) -> None:
    """Say what is right of a study; an empty text empties the value. It is answered and sent so at once; the stored bytes stay."""
    request = CorrectStudy(
        study=study,
        patient_name=patient_name,
        patient_id=patient_id,
        issuer=issuer,
        birth_date=birth_date,
        sex=sex,
        accession=accession,
        merge_into=merge_into,
        rejected=rejected,
        undo=undo,
    )
    for row in ask(state, request):
        assert isinstance(row, CorrectionRow)
        typer.echo(f"{study} is {_said(row)}.")


def list_corrections(state: STATE = DEFAULT_STATE, as_json: JSON = False, show_phi: PHI = False) -> None:
    """List the studies that were corrected or rejected, newest first."""
    for row in ask(state, ListCorrections()):
        assert isinstance(row, CorrectionRow)
        if as_json:
            json_lines([row if show_phi else msgspec.structs.replace(row, attributes={tag: {} for tag in row.attributes})])
        else:
            typer.echo(f"{row.study}  {utc(row.corrected_at)}  {_said(row)}")


def _said(row: CorrectionRow) -> str:
    tags = ", ".join(f"({tag[:4]},{tag[4:]})" for tag in sorted(row.attributes))
    said = [*(["rejected"] if row.rejected else []), *([f"corrected in {tags}"] if tags else [])]
    return " and ".join(said) or "as it arrived"
