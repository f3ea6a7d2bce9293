"""Small matrices, and the folders they are read from."""

from __future__ import annotations

from pathlib import Path

import pytest

from matrix.load import load
from matrix.mistakes import Mistakes
from matrix.model import ExtensionSpec, GuestSpec, HypervisorSpec, Matrix, MeasuredHost, Rule

GUEST = """\
id: {id}
name: A guest
vendor: Somebody
version: "1"
image: {id}
"""


def guest(name: str, **fields: object) -> GuestSpec:
    return GuestSpec.model_validate({"id": name, "name": name, "vendor": "V", "version": "1", "image": name, **fields})


def hypervisor(name: str, *extensions: str, **fields: object) -> HypervisorSpec:
    return HypervisorSpec.model_validate(
        {"id": name, "name": name, "driver": "qemu", "extensions": extensions, **fields}
    )


def matrix(guests: list[GuestSpec], hypervisors: list[HypervisorSpec], *rules: Rule) -> Matrix:
    flags = {"none": None, "vmx": "vmx", "svm": "svm"}
    return Matrix(
        guests={each.id: each for each in guests},
        hypervisors={each.id: each for each in hypervisors},
        extensions={name: ExtensionSpec(id=name, name=name, cpu_flag=flag) for name, flag in flags.items()},
        profiles={},
        rules={rule.id: rule for rule in rules},
        labs={},
        lab_hosts={},
        claims={},
        sources={},
        origins={},
    )


def host(name: str, **capabilities: bool | int | str | None) -> MeasuredHost:
    """A host with `hypervisor_kvm=True` as `hypervisor.kvm` and so on; x86-64 with 8 GiB unless told otherwise."""
    named = {key.replace("_", ".", 1) if key != "memory_mib" else key: value for key, value in capabilities.items()}
    return MeasuredHost(id=name, uri="qemu:///embed", capabilities={"arch.x86_64": True, "memory_mib": 8192, **named})


def write_overlay(root: Path, **files: str) -> Path:
    """An overlay folder; `guests__a="..."` becomes guests/a.yaml."""
    for name, text in files.items():
        path = root / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def mistakes_of(root: Path) -> list[str]:
    """The lines of all mistakes in an overlay, with paths below it."""
    with pytest.raises(Mistakes) as caught:
        load([root])
    return [line.replace(f"{root}/", "") for line in str(caught.value).splitlines()]
