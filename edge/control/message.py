"""One line of edge's control socket."""

from __future__ import annotations

import msgspec


class Message(msgspec.Struct, frozen=True, tag_field="is", forbid_unknown_fields=True, kw_only=True):
    """A request or an answer; which one, `is` says."""


class Done(Message, frozen=True, tag="done"):
    """The last line of an answer: everything that was asked for was done."""


class Failed(Message, frozen=True, tag="failed"):
    """`error` is the name of the nearest class in edge.errors, `sentence` the message with the cure."""

    error: str
    sentence: str
