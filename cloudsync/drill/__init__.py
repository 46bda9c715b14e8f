"""The rehearsal of a restore: the kit and the archive alone, in a directory of its own, compared bit for bit with what was signed."""
