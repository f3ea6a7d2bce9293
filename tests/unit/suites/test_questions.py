"""What each family is asked: Linux's row on this machine, the others' answers as their manuals show them."""

from __future__ import annotations

import os
import typing
from pathlib import Path
from types import SimpleNamespace

import pytest

from fixtures.faults import CommandFailed
from fixtures.os_family import FAMILIES
from matrix.load import load
from matrix.model import Family
from suites.reading.questions import QUESTIONS, Question, ask, questions_for
from tests.unit.fixtures.test_os_family import FREEBSD, NETBSD, OPENBSD
from tests.unit.suites.local_shell import LocalShell

GEOM = """Geom name: vtbd0
Providers:
1. Name: vtbd0
   Mediasize: 6442450944 (6.0G)
   Sectorsize: 512
   Mode: r2w2e3
   descr: (null)
   ident: guestcert-root
   rotationrate: unknown
   fwsectors: 63
   fwheads: 16

Geom name: cd0
Providers:
1. Name: cd0
   Mediasize: 0 (0B)
   Sectorsize: 2048
   Mode: r0w0e0
   descr: QEMU QEMU DVD-ROM
   ident: (null)

"""


def here(family: Family) -> typing.Any:
    """As much of a guest as is asked: this machine, which is a Linux."""
    shell = LocalShell()

    def check(argv: tuple[str, ...]) -> str:
        done = shell.run(argv)
        if done.status:
            raise CommandFailed(done.error_text)
        return done.text

    return SimpleNamespace(spec=SimpleNamespace(family=family), family=FAMILIES[family], check=check)


def test_every_family_has_a_row() -> None:
    assert set(QUESTIONS) == set(typing.get_args(Family))
    for guest in load().guests.values():
        assert questions_for(SimpleNamespace(spec=guest)) is QUESTIONS[guest.family]  # type: ignore[arg-type]


def test_this_linux_answers() -> None:
    row, guest = QUESTIONS["linux"], here("linux")
    assert ask(guest, "x", row.vcpus)[0] == os.sysconf("SC_NPROCESSORS_ONLN")
    memory, text = ask(guest, "x", row.memory_kib)
    assert f" {memory} kB" in text
    assert ask(guest, "x", row.identity)[0]["ID"] in Path("/etc/os-release").read_text()
    cards, _ = ask(guest, "x", row.cards)
    assert {card.name for card in cards} == {
        path.name for path in Path("/sys/class/net").iterdir() if (path / "address").exists()
    }
    disks, _ = ask(guest, "x", row.disks)
    sizes = {path.parent.name: int(path.read_text()) * 512 for path in Path("/sys/block").glob("*/size")}
    assert {disk.name: disk.size_bytes for disk in disks} == sizes


def test_any_unix_says_what_it_is_with_or_without_os_release() -> None:
    identity = ask(here("other"), "x", QUESTIONS["other"].identity)[0]
    assert identity["ID"]
    assert ask(here("other"), "x", QUESTIONS["other"].vcpus)[0] == os.sysconf("SC_NPROCESSORS_ONLN")


@pytest.mark.parametrize(
    ("family", "text", "name"),
    [("freebsd", FREEBSD, "vtnet0"), ("netbsd", NETBSD, "vioif0"), ("openbsd", OPENBSD, "vio0")],
)
def test_cards_of_a_bsd(family: Family, text: str, name: str) -> None:
    question = QUESTIONS[family].cards
    assert question is not None
    (card,) = question.parse(text)
    assert (card.name, card.mac, card.carrier) == (name, "52:54:00:01:02:03", True)
    assert "virtio_net" in card.drivers
    (down,) = question.parse(text.replace("<UP,", "<"))
    assert down.carrier is None
    if "status:" in text:
        assert question.parse(text.replace("active", "no carrier"))[0].carrier is False


def test_disks_of_freebsd() -> None:
    question = QUESTIONS["freebsd"].disks
    assert question is not None
    disk, drive = question.parse(GEOM)
    assert (disk.name, disk.size_bytes, disk.serial) == ("vtbd0", 6 * 1024**3, "guestcert-root")
    assert "virtio_blk" in disk.drivers
    assert (drive.name, drive.serial) == ("cd0", None)


def test_devices_of_windows() -> None:
    row = QUESTIONS["windows"]
    assert row.cards is not None
    assert row.disks is not None
    (card,) = row.cards.parse(
        "Ethernet Instance 0\t52-54-00-01-02-03\tUp\tPCI\\VEN_1AF4&DEV_1041&SUBSYS_11001AF4&REV_01\\3&13C0B0C5&0&10\n"
    )
    assert (card.mac, card.carrier, card.drivers) == ("52:54:00:01:02:03", True, ("virtio_net",))
    (disk,) = row.disks.parse("0\t42949672960\tguestcert-root\tSATA\n")
    assert (disk.size_bytes, disk.serial, disk.drivers) == (40 * 1024**3, "guestcert-root", ("ahci",))


def test_memory_is_kib_whatever_it_is_told_in() -> None:
    assert {name: QUESTIONS[name].memory_kib.parse("536870912\n") for name in ("freebsd", "netbsd", "openbsd")} == {
        "freebsd": 512 * 1024,
        "netbsd": 512 * 1024,
        "openbsd": 512 * 1024,
    }
    assert QUESTIONS["windows"].memory_kib.parse("4193780\n") == 4193780


def test_an_answer_that_is_none_is_named() -> None:
    with pytest.raises(
        CommandFailed, match="asked for its size, the guest says 'sysctl: unknown oid': invalid literal"
    ):
        ask(here("linux"), "its size", Question("echo sysctl: unknown oid", int))
    with pytest.raises(CommandFailed):
        ask(here("linux"), "its size", Question("exit 3", int))


def test_what_nobody_knows_to_ask_is_skipped() -> None:
    with pytest.raises(pytest.skip.Exception, match="guestcert knows no way to ask openbsd for its disks"):
        ask(here("openbsd"), "its disks", QUESTIONS["openbsd"].disks)


def test_the_line_for_the_console_is_put_in() -> None:
    for family, row in QUESTIONS.items():
        if row.speak is not None:
            assert "a line" in row.speak.format(line="a line"), family
    assert [name for name, row in QUESTIONS.items() if row.speak is None] == ["windows"]
