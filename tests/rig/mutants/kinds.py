"""The mutants by name. Each replaces one thing in the process that it is called in, before anything runs there."""

from __future__ import annotations

from collections.abc import Callable

from tests.rig.mutants import crossing, flushing, keeping, starting

MUTANTS: dict[str, Callable[[], None]] = {
    "no flush of the pack": flushing.no_flush_of_the_pack,
    "no directory flush after creating one": flushing.no_directory_flush,
    "header blocks before the data is there": flushing.header_blocks_first,
    "no digest check": starting.no_digest_check,
    "ack before the flush": flushing.answer_before_the_flush,
    "catalogue trusted over packs": starting.catalogue_trusted_over_packs,
    "evict before verify": keeping.evict_before_verify,
    "retry after fsync error": flushing.retry_after_an_error,
    "unlink before commit": keeping.unlink_before_commit,
    "following a symlink across the wall": crossing.following_a_symlink,
}
