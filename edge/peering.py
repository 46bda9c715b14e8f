"""The peer table as people change it: what they enter is checked, in force at once, and audited."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, fields, replace
from typing import TypeVar

import msgspec

from edge import audit
from edge.audit import Audit
from edge.config import Config
from edge.control.peers import ApprovePeer, CallerRow, ListCallers, ListPeers, PeerRow, PutPeer, RemovePeer
from edge.dataset.charset import is_known
from edge.dimse.identity import hashed
from edge.errors import Refused, StoreFull, Unknown
from edge.model import UID, AETitle, Commitment, Peer, Urgency, parse_ae_title, parse_uid
from edge.responder import PEOPLE, Asker, Responder, at_once
from edge.store.callers import Callers
from edge.store.site import RIGHTS, SiteState

_Kind = TypeVar("_Kind", Commitment, Urgency)
_SMALLEST_PDU, _LARGEST_PDU = 4096, 1 << 20
MOST_SENDING = 8
"""Associations that are opened to one peer at the same time."""


class PeerTable:
    """The peer table as the engine asks it: the Peers port. Safe to use from several threads."""

    def __init__(self, site: SiteState, callers: Callers) -> None:
        self._site = site
        self._callers = callers

    def peer(self, ae_title: AETitle) -> Peer | None:
        return self._site.peer(ae_title)

    def destination(self, ae_title: AETitle) -> Peer | None:
        return self._site.destination(ae_title)

    def turned_away(self, calling_ae: AETitle, called_ae: str, address: str, reason: str) -> None:
        with suppress(StoreFull):  # who cannot be listed is refused all the same
            self._callers.note(calling_ae, called_ae, address, reason)


class Peering:
    """Answers what is asked about peers; what cannot be is refused with the reason and the cure. Safe to use from several threads."""

    def __init__(self, config: Config, site: SiteState, callers: Callers, trail: Audit) -> None:
        self._config = config
        self._site = site
        self._callers = callers
        self._audit = trail

    def responders(self) -> Iterable[Responder]:
        return [
            at_once(ListPeers, PEOPLE, self._list),
            at_once(PutPeer, PEOPLE, self._enter),
            at_once(RemovePeer, PEOPLE, self._remove),
            at_once(ListCallers, PEOPLE, self._list_callers),
            at_once(ApprovePeer, PEOPLE, self._approve),
        ]

    def _list(self, _request: ListPeers, _asker: Asker) -> list[PeerRow]:
        return [_row(peer) for peer in self._site.peers()]

    def _enter(self, request: PutPeer, asker: Asker) -> list[PeerRow]:
        return [_row(self._put(request, asker.user))]

    def _list_callers(self, _request: ListCallers, _asker: Asker) -> list[CallerRow]:
        return [CallerRow(**asdict(one)) for one in self._callers.all()]

    def _put(self, request: PutPeer, user: int, change: str | None = None) -> Peer:
        ae_title = parse_ae_title(request.ae_title)
        if ae_title is None:
            raise Refused(f"{request.ae_title!r} is no AE title: use 1 to 16 characters without backslash.")
        known = self._site.peer(ae_title)
        dicom = self._config.dicom
        before = known or Peer(ae_title, max_pdu_bytes=dicom.max_pdu_bytes, idle_seconds=dicom.idle_seconds)
        peer = _changed(before, request)
        self._site.put_peer(peer)
        self._callers.forget(ae_title)
        reference = known or Peer(ae_title)
        different = [field.name for field in fields(Peer) if getattr(reference, field.name) != getattr(peer, field.name)]
        change = change or ("added" if known is None else "changed")
        self._audit.record(audit.PeerChanged(user=user, peer=ae_title, change=change, fields=different))
        return peer

    def _remove(self, request: RemovePeer, asker: Asker) -> list[PeerRow]:
        ae_title = parse_ae_title(request.ae_title)
        if ae_title is None or not self._site.remove_peer(ae_title):
            raise Unknown(f"There is no peer {request.ae_title!r}. `outpost peers ls` lists them.")
        self._audit.record(audit.PeerChanged(user=asker.user, peer=ae_title, change="removed", fields=[]))
        return []

    def _approve(self, request: ApprovePeer, asker: Asker) -> list[PeerRow]:
        title = request.ae_title.strip()
        if self._site.peer(AETitle(title)) is not None:
            raise Refused(f"{title} is a peer already. `outpost peers add {title}` with the option that is to change lets it in.")
        found = {row.address for row in self._callers.all() if row.ae_title == title and request.address in {None, row.address}}
        if not found:
            raise Unknown(f"Nobody called as {title!r}. `outpost peers unknown` lists who was turned away.")
        if len(found) > 1:
            raise Refused(f"{title} called from {', '.join(sorted(found))}. Say which with --address.")
        return [_row(self._put(PutPeer(ae_title=title, address=found.pop(), rights=request.rights), asker.user, "approved"))]


def _changed(peer: Peer, request: PutPeer) -> Peer:
    """The peer with what the request says. Raises Refused for what cannot be."""
    entered = {name: value for name, value in msgspec.structs.asdict(request).items() if value is not None and name != "ae_title"}
    for name, value in entered.items():
        if isinstance(value, str) and any(not character.isprintable() for character in value):
            raise Refused(f"{name.replace('_', ' ')}: there is a character in it that cannot be printed.")
    address = entered.get("address", "")
    if address:
        try:
            entered["address"] = str(ipaddress.ip_network(address)) if "/" in address else str(ipaddress.ip_address(address))
        except ValueError as fault:
            raise Refused(f"{address!r} is no address and no network in CIDR form: {fault}.") from fault
    if "passcode" in entered:
        entered["passcode"] = hashed(entered["passcode"])
    if "rights" in entered:
        entered["rights"] = frozenset(entered["rights"])
        if unknown := entered["rights"] - RIGHTS:
            raise Refused(f"There is no right {', '.join(sorted(unknown))}. Rights are {', '.join(sorted(RIGHTS))}.")
    for name in ("accept_syntaxes", "send_skip_sop_classes"):
        if name in entered:
            entered[name] = frozenset(_uids(entered[name]))
    if "commitment" in entered:
        entered["commitment"] = _one_of(Commitment, entered["commitment"], "commitment policy")
    if "urgency" in entered:
        entered["urgency"] = _one_of(Urgency, entered["urgency"], "class")
    if not is_known(entered.get("query_charset", "")):
        raise Refused(f"{request.query_charset!r} is no defined term of Specific Character Set (PS3.3 section C.12.1.1.2).")
    changed = replace(peer, **entered)
    _check(changed)
    return changed


def _check(peer: Peer) -> None:
    if not 1 <= peer.port <= 65_535:
        raise Refused(f"{peer.port} is no port: use 1 to 65535.")
    if not _SMALLEST_PDU <= peer.max_pdu_bytes <= _LARGEST_PDU:
        raise Refused(f"A PDU of at most {peer.max_pdu_bytes} bytes is out of range: use {_SMALLEST_PDU} to {_LARGEST_PDU}.")
    if peer.max_associations < 0:
        raise Refused(f"{peer.max_associations} associations cannot be: use 1 or more, or 0 for no limit of its own.")
    if not 1 <= peer.send_associations <= MOST_SENDING:
        raise Refused(f"{peer.send_associations} associations to send over cannot be: use 1 to {MOST_SENDING}.")
    if len(peer.user_name) > 64:
        raise Refused("A user name has at most 64 characters.")
    if peer.passcode and not peer.user_name:
        raise Refused("A passcode is that of a user. Give --user-name too.")
    if len(peer.default_issuer) > 64 or "\\" in peer.default_issuer:
        raise Refused("An issuer has at most 64 characters and no backslash.")
    for name, value, least in (
        ("idle seconds", peer.idle_seconds, 0.001),
        ("report after seconds", peer.report_after_seconds, 0.001),
        ("retrieve limit seconds", peer.retrieve_limit_seconds, 0.0),
    ):
        if not (least <= value < math.inf):
            raise Refused(f"{name}: {value} is out of range.")
    if peer.tls and not peer.host:
        raise Refused("TLS is for calling the peer, and it has no host to be called at. Give it one with --host.")


def _uids(texts: Iterable[str]) -> Iterable[UID]:
    for text in texts:
        uid = parse_uid(text)
        if uid is None:
            raise Refused(f"{text!r} is no UID.")
        yield uid


def _one_of(kind: type[_Kind], text: str, name: str) -> _Kind:
    try:
        return kind(text)
    except ValueError as fault:
        raise Refused(f"There is no {name} {text!r}. Use one of {', '.join(kind)}.") from fault


def _row(peer: Peer) -> PeerRow:
    columns = {field.name: getattr(peer, field.name) for field in fields(peer)} | {"passcode": bool(peer.passcode)}
    return msgspec.convert({name: sorted(value) if isinstance(value, frozenset) else value for name, value in columns.items()}, PeerRow)
