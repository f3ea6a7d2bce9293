"""What produced a run: versions of everything that took part, and a digest of the plan."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform

from matrix.osinfo import Osinfo
from matrix.plan import Plan

_PACKAGES = ("guestcert", "pytest", "pytest-xdist", "allure-pytest", "libvirt-python", "paramiko")


def versions() -> dict[str, str]:
    """Versions by name; a package that is not installed (guestcert from a checkout) is left out."""
    found = {"python": platform.python_version(), "system": platform.platform(terse=True)}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    if database := Osinfo.of_this_machine().version:
        found["osinfo-db"] = database
    return found


def plan_digest(plan: Plan) -> str:
    """Digest of what was to be done: cells, bindings, profile, hosts; not of when and where."""
    document = plan.model_dump(mode="json", exclude={"run_id", "out", "started"})
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()
