"""Variants of the product, each with one fault that loses data: the rig must find every one of them (R2)."""
