"""What a host's network may be called."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from matrix.model import HostSpec


@pytest.mark.parametrize("name", ["user", "default", "VM Network", "a" * 255, "ce:fd-0_<&>"])
def test_names_that_hypervisors_give_networks_are_taken(name: str) -> None:
    assert HostSpec(id="h", uri="esx://h/", network=name).network == name


@pytest.mark.parametrize("name", ["", " VM", "VM ", "VM  Network", "VM\tNetwork", "VM\nNetwork", "Büro", "a" * 256])
def test_others_are_refused_with_what_is_allowed(name: str) -> None:
    with pytest.raises(ValidationError, match="must be a network's name of printable ASCII, with single spaces inside"):
        HostSpec(id="h", uri="esx://h/", network=name)
