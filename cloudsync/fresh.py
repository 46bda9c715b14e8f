"""A state directory in the making, by set-up or by a rebuild. Until it is finished nothing can run on it, and it can be made again."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from cloudsync.users import user_id
from edge.config import Layout, Wall
from edge.durable import flush_directory, write_whole
from edge.errors import ConfigError, Refused


class NotEmpty(Refused):
    """The state directory is in use. Name an empty one with --state; nothing was changed."""


def check(layout: Layout) -> None:
    """Raises what `claim` would raise, and changes nothing.

    Directories and empty files that the system made for us are no content.
    """
    check_place("--state", layout.state)
    if not _broken_off(layout) and _content(layout.state):
        raise NotEmpty(f"{layout.state} is not empty. Name an empty directory with --state; nothing was changed.")


def check_place(key: str, directory: Path) -> None:
    """Raises ConfigError, naming the option or setting, when `directory` is not one and cannot be made. Changes nothing."""
    place = directory.resolve()
    there = next(step for step in (place, *place.parents) if os.path.exists(step))
    if not there.is_dir():
        raise ConfigError(key, f"{directory} cannot be made, because {there} is a file", "Name a directory.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(key, f"this user cannot write in {there}", "Name a directory that this user can write.")


def claim(layout: Layout) -> None:
    """Begin: make the directories. Raises NotEmpty when anything but an attempt that was broken off lies there, and ConfigError.

    Directories that the system made for us keep their owners and modes.
    """
    check(layout)
    try:
        layout.state.mkdir(mode=0o755, parents=True, exist_ok=True)
        if _broken_off(layout):
            _wipe(layout)
        write_whole(_mark(layout), b"Not finished. Run the command again, or remove this directory.\n")
        for directory in (layout.edge, layout.cloudsync, layout.inbox, layout.facts):
            directory.mkdir(mode=0o750, exist_ok=True)
        for directory in (layout.keys, layout.sealed):
            directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as fault:
        raise ConfigError("--state", f"{layout.state}: {fault.strerror}", "Name a directory that this user can write.") from fault


def finish(layout: Layout, config_text: str, wall: Wall) -> None:
    """End: the directories go to the users who own them, the settings appear, and from here on it is a state directory."""
    for key, name, root in (
        ("wall.edge_user", wall.edge_user, layout.edge),
        ("wall.cloudsync_user", wall.cloudsync_user, layout.cloudsync),
    ):
        owner = user_id(key, name)
        if owner is not None and os.geteuid() == 0:
            for path in (root, *root.rglob("*")):
                os.chown(path, owner, -1, follow_symlinks=False)
    write_whole(layout.config, config_text.encode(), 0o644)
    _mark(layout).unlink()
    flush_directory(layout.state)


def settings_text(sections: Mapping[str, Mapping[str, str | int]]) -> str:
    """A TOML text of these settings; what is left out has its default."""
    lines = ["# Every setting, with its default and what it is for, stands in the sample configuration (systemd/outpost.toml)."]
    for section, settings in sections.items():
        lines += ["", f"[{section}]"] if settings else []
        # A TOML basic string is written as a JSON string is.
        lines += [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in settings.items()]
    return "\n".join(lines) + "\n"


def _mark(layout: Layout) -> Path:
    return layout.state / "unfinished"


def _broken_off(layout: Layout) -> bool:
    """Whether an attempt lies there, and not a mark that outlived it: the settings appear last, cloudsync makes its lock when it runs."""
    return _mark(layout).exists() and not (layout.config.exists() or layout.cloudsync_lock.exists())


def _content(root: Path) -> bool:
    # An attempt that ended as it wrote its mark leaves the mark under its temporary name, and nothing else.
    ours = {"lost+found", ".unfinished.new"}
    return any(path.is_symlink() or (path.is_file() and path.stat().st_size > 0) for path in root.rglob("*") if path.name not in ours)


def _wipe(layout: Layout) -> None:
    for directory in (layout.edge, layout.cloudsync):
        for path in directory.iterdir() if directory.is_dir() else ():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
