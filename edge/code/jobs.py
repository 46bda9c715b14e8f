"""What the worker process is asked, and what it answers: one JSON line each (see worker.py)."""

from __future__ import annotations

from typing import Literal

import msgspec

from edge.journal import PartFile
from edge.model import Json

HEAD_APART = "head"
"""The file in which the head of a coded pack lies where number 0 is the listing of its instances."""


class _Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="job"):
    pack: str


class MemberRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An instance of a closed pack, as the catalogue knows it; offsets are in the cached pack file."""

    study: str
    series: str
    sop_instance: str
    sop_class: str
    transfer_syntax: str
    digest: str
    header_offset: int
    dataset_offset: int
    dataset_length: int
    attributes: Json
    """Of the instance level; (0020,0013) Instance Number orders the coded tar."""
    fault: str | None = None
    """What breaks PS3.5 in it."""


class CodeJob(_Job, frozen=True, tag="code"):
    """Make head and parts of a closed pack in `target_dir`, which the caller then renames into the outbox."""

    pack_path: str
    target_dir: str
    """Made when it is not there; numbered files of an earlier attempt in it are replaced."""
    part_bytes: int
    """Of the compressed part, 4 KiB to 1.75 MiB; a part ends at the member boundary after it."""
    sha256: str
    """Of the closed pack file."""
    study: Json
    series: list[Json]
    members: list[MemberRow]
    """All of them, in any order."""
    verbatim: bool = False
    """Touch no pixel: for a pack over which the worker died before."""
    form: Literal["parts", "instances"] = "parts"
    """instances: each member as a file of its own, verbatim, and a listing of them as number 0; the head is the file HEAD_APART."""


class DecodeJob(_Job, frozen=True, tag="restore"):
    """Restore members of an archived pack at their old offsets in the sparse file `target_path`, which is made when it is not there."""

    head_path: str
    parts: dict[int, str]
    """Part number to its path; below `inbox` where that is given."""
    target_path: str
    members: list[int] | None = None
    """Indexes into the manifest; those that the parts do not cover are left out. None for all that the parts cover."""
    inbox: str | None = None
    """A directory that the other side of the wall writes: parts are opened through its Gate."""
    inbox_owner: int | None = None


class FinishJob(_Job, frozen=True, tag="finish"):
    """All members are restored: write what only the head knows, and compare the pack's SHA-256."""

    head_path: str
    target_path: str


class Variant(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One variant of an instance: in a cached pack file, or, where `head_path` is given, as the head of its pack holds it."""

    path: str
    dataset_offset: int
    dataset_length: int
    transfer_syntax: str
    head_path: str | None = None


class FingerprintJob(_Job, frozen=True, tag="fingerprint"):
    """Say what variants of one instance say, whatever their encoding; `pack` is that of the first."""

    variants: list[Variant]


class NativeJob(_Job, frozen=True, tag="native"):
    """Write an instance in Explicit VR Little Endian with native pixels. Two descriptors are lent with it: of the file in which the
    dataset lies, and of an empty one to write to. From the first one on its worker opens no file: it is of no use for other jobs.
    """

    dataset_offset: int
    dataset_length: int
    transfer_syntax: str
    at_most_bytes: int


class _Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="answer"):
    pass


class CodedMember(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    sop_instance: str
    digest: str
    coding: str
    """`jpegls` or `verbatim`."""


class CodedPack(_Answer, frozen=True, tag="coded"):
    """A coded pack: the files lie flushed in the target directory."""

    parts: list[PartFile]
    """Number 0 is the head, or the listing of the instances, which comes alone."""
    raw_bytes: int
    """Of the cached pack file."""
    coded_bytes: int
    """Of all that the archive gets."""
    objects: int
    """How many objects that is: head, parts and sums, or the instances."""
    members: list[CodedMember]
    """In the order of the manifest."""


class Restored(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One member was decoded. Where its digest is wrong, nothing of it was written."""

    index: int
    digest_ok: bool


class Restoration(_Answer, frozen=True, tag="restored"):
    members: list[Restored]


class Finished(_Answer, frozen=True, tag="finished"):
    sha256_ok: bool
    """Where it is false, every member's digest held but the pack is not, byte for byte, what was closed."""


class Fingerprint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Digests of a dataset that are the same for every encoding of it."""

    study: str
    """Of patient and study attributes."""
    rest: str
    """Of everything else but the pixels."""
    pixels: str
    patient_id: str
    birth_date: str


class Fingerprints(_Answer, frozen=True, tag="fingerprints"):
    """In the order of the job; None where the bytes themselves are needed, and they are away."""

    prints: list[Fingerprint | None]


class Native(_Answer, frozen=True, tag="native"):
    length: int
    """Of the dataset that was written."""


class Failure(_Answer, frozen=True, tag="failure"):
    """The job failed; `error` names a type of edge.errors."""

    error: str
    message: str


Job = CodeJob | DecodeJob | FinishJob | FingerprintJob | NativeJob
Answer = CodedPack | Restoration | Finished | Fingerprints | Native | Failure
