"""Seals: parts in CMS, the keys that open them, the sums that name them, and the recovery kit. Formats: docs/formats-seal.md."""
