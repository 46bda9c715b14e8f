"""The commands about peers: who may talk to Outpost, how, and who would like to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from edge.clock import utc
from edge.control.peers import ApprovePeer, CallerRow, ListCallers, ListPeers, PeerRow, PutPeer, RemovePeer
from edge.errors import Unknown
from edge.terminal import AE_TITLE, DEFAULT_STATE, JSON, STATE, ask, fail, json_lines

peers = typer.Typer(no_args_is_help=True, help="Who may talk to Outpost.")


@peers.command("ls")
def list_peers(state: STATE = DEFAULT_STATE, as_json: JSON = False) -> None:
    """List peers and their rights."""
    rows = [row for row in ask(state, ListPeers()) if isinstance(row, PeerRow)]
    if as_json:
        json_lines(rows)
        return
    for row in rows:
        place = f"{row.host or '-'}:{row.port}{' (TLS)' if row.tls else ''}"
        typer.echo(f"{row.ae_title:16}  from {row.address or 'any address':18}  at {place}  {', '.join(row.rights)}")


@peers.command("show")
def show_peer(ae_title: AE_TITLE, state: STATE = DEFAULT_STATE, as_json: JSON = False) -> None:
    """Show everything that is set for a peer."""
    rows = [row for row in ask(state, ListPeers()) if isinstance(row, PeerRow) and row.ae_title == ae_title]
    if not rows:
        fail(Unknown(f"There is no peer {ae_title!r}. `outpost peers ls` lists them."))
    if as_json:
        json_lines(rows)
        return
    for name, value in msgspec.structs.asdict(rows[0]).items():
        typer.echo(f"{name:22}  {', '.join(value) if isinstance(value, list) else value}")


@peers.command("add")
def add_peer(
    ae_title: AE_TITLE,
    host: Annotated[str | None, typer.Option(help="Where we call it back (C-MOVE, storage commitment); empty for never.")] = None,
    port: Annotated[int | None, typer.Option(help="Its DICOM port; 104 at first.")] = None,
    tls: Annotated[bool | None, typer.Option("--tls/--no-tls", help="Call it back with TLS.")] = None,
    tls_subject: Annotated[
        str | None, typer.Option(help="The subject of its certificate, as `openssl x509 -noout -subject -nameopt RFC2253` prints it.")
    ] = None,
    user_name: Annotated[str | None, typer.Option(help="The user that it must say it is; empty for any, or none.")] = None,
    passcode_file: Annotated[Path | None, typer.Option(help="A file with the passcode of that user; an empty one for none.")] = None,
    address: Annotated[str | None, typer.Option(help="From where it may call: address or CIDR; empty for any.")] = None,
    rights: Annotated[
        str | None, typer.Option(help="Comma-separated: store, find, move, get, commit, worklist. At first the first four.")
    ] = None,
    accept_syntaxes: Annotated[
        str | None, typer.Option(help="UIDs of the transfer syntaxes in which it may store, comma-separated; empty for every one.")
    ] = None,
    max_pdu_bytes: Annotated[int | None, typer.Option(help="The largest PDU that we offer it; old devices need 16384.")] = None,
    idle_seconds: Annotated[float | None, typer.Option(help="How long its association may be idle.")] = None,
    max_associations: Annotated[int | None, typer.Option(help="How many it may have at the same time; 0 for no limit of its own.")] = None,
    send_associations: Annotated[
        int | None, typer.Option(help="How many are opened to it at the same time for what is sent to it; many devices take one.")
    ] = None,
    default_issuer: Annotated[str | None, typer.Option(help="Issuer of Patient ID of what it sends without one.")] = None,
    query_charset: Annotated[
        str | None, typer.Option(help="Specific Character Set of its queries and our answers, for example ISO_IR 100.")
    ] = None,
    commitment: Annotated[str | None, typer.Option(help="When storage is committed: local, two_copies or archived.")] = None,
    report_after_seconds: Annotated[float | None, typer.Option(help="When a commitment is reported at the latest.")] = None,
    commitment_falls_back: Annotated[
        bool | None,
        typer.Option("--commitment-falls-back/--commitment-fails", help="What is only on this disk by then is committed, or fails."),
    ] = None,
    urgency: Annotated[str | None, typer.Option("--class", help="Of what it sends: stat, routine or background.")] = None,
    send_skip_sop_classes: Annotated[
        str | None, typer.Option(help="UIDs of the SOP classes that are not sent to it, comma-separated; empty for none.")
    ] = None,
    accept_quarantined: Annotated[
        bool | None, typer.Option("--accept-quarantined/--refuse-quarantined", help="Answer success for what goes to quarantine.")
    ] = None,
    retrieve_limit_seconds: Annotated[
        float | None, typer.Option(help="When a retrieve gets its final response at the latest; 0 for when all is sent.")
    ] = None,
    state: STATE = DEFAULT_STATE,
) -> None:
    """Allow a device or viewer, or change one: what is not named stays as it is. In force for its next association."""
    request = PutPeer(
        ae_title=ae_title,
        address=address,
        host=host,
        port=port,
        tls=tls,
        tls_subject=tls_subject,
        user_name=user_name,
        passcode=None if passcode_file is None else passcode_file.read_text("utf-8").rstrip("\r\n"),
        rights=_list(rights),
        accept_syntaxes=_list(accept_syntaxes),
        max_pdu_bytes=max_pdu_bytes,
        idle_seconds=idle_seconds,
        max_associations=max_associations,
        send_associations=send_associations,
        default_issuer=default_issuer,
        query_charset=query_charset,
        commitment=commitment,
        report_after_seconds=report_after_seconds,
        commitment_falls_back=commitment_falls_back,
        urgency=urgency,
        send_skip_sop_classes=_list(send_skip_sop_classes),
        accept_quarantined=accept_quarantined,
        retrieve_limit_seconds=retrieve_limit_seconds,
    )
    list(ask(state, request))
    typer.echo(f"{ae_title} may talk to Outpost.")


@peers.command("rm")
def remove_peer(ae_title: AE_TITLE, state: STATE = DEFAULT_STATE) -> None:
    """Refuse a device from its next association on."""
    list(ask(state, RemovePeer(ae_title=ae_title)))
    typer.echo(f"{ae_title} is refused from now on.")


@peers.command("unknown")
def list_callers(state: STATE = DEFAULT_STATE, as_json: JSON = False) -> None:
    """List who was turned away, last seen first."""
    rows = [row for row in ask(state, ListCallers()) if isinstance(row, CallerRow)]
    if as_json:
        json_lines(rows)
        return
    for row in rows:
        seen = f"{utc(row.first_at)} to {utc(row.last_at)}"
        typer.echo(f"{row.ae_title:16}  from {row.address:18}  called {row.called:16}  {row.times:>6} times, {seen}  {row.reason}")


@peers.command("approve")
def approve_peer(
    ae_title: AE_TITLE,
    address: Annotated[str | None, typer.Option(help="Which of several addresses that called under this AE title.")] = None,
    rights: Annotated[str | None, typer.Option(help="Comma-separated; store, find, move and get unless named.")] = None,
    state: STATE = DEFAULT_STATE,
) -> None:
    """Allow a device that was turned away, from the address where it was seen."""
    for row in ask(state, ApprovePeer(ae_title=ae_title, address=address, rights=_list(rights))):
        assert isinstance(row, PeerRow)
        typer.echo(f"{row.ae_title} may talk to Outpost from {row.address}: {', '.join(row.rights)}.")


def _list(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]
