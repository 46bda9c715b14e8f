"""Coverage-guided fuzzing of everything that reads what a peer or an archive sends: `python -m tests.fuzz TARGET --seconds N`."""
