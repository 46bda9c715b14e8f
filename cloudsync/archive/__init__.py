"""Archives: one port, one adapter for each kind, and behaviour added by wrapping."""
