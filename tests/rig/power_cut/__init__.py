"""A disk whose power can be cut: what was written to it and flushed is on tape, and any moment of the tape is a disk again."""
