"""Data that has to be there after a guest went down: where to write it, how to write it, how to look at it again."""

from __future__ import annotations

import shlex
from contextlib import suppress
from dataclasses import dataclass

import pytest

from fixtures.faults import ChannelLost, CommandFailed, ShutOff
from fixtures.guest import Guest
from suites.reading.batch import Batch, Runner, run_batch
from suites.reading.procfs import Mount, lives_on_disk, mount_holding, parse_mounts

_FOLDER = "/var/tmp"  # noqa: S108  # kept over reboots (hier(7)), unlike /tmp


@dataclass(frozen=True, slots=True)
class StoredData:
    """A file in the guest and the SHA-256 of what went into it; `mount` is the file system that holds it."""

    path: str
    sha256: str
    mount: Mount


def store_random_data(guest: Runner, name: str, blocks: int) -> StoredData:
    """Write `blocks` x 64 KiB of random data to a new file and fsync it; the sum is taken before the disk sees it.

    Skips the probe when the guest keeps no file system on a disk. Raises CommandFailed.
    """
    path = f"{_FOLDER}/guestcert-{name}"
    # tee's copy is what goes to the disk; dd's conv=fsync is in GNU, busybox and toybox alike, fsync(1) is not. The
    # last sync makes the folder's new entry durable on file systems where fsync of a new file does not.
    batch = run_batch(
        guest,
        {
            "mounts": "cat /proc/mounts",
            "write": f"mkdir -p {_FOLDER} && dd if=/dev/urandom bs=65536 count={blocks} 2>/dev/null"
            f" | tee {path}.plain | sha256sum && dd if={path}.plain of={path} bs=65536 conv=fsync 2>/dev/null"
            f" && rm {path}.plain && sync",
        },
        timeout=120,
    )
    mount = mount_holding(parse_mounts(batch["mounts"].text), path)
    if mount is None or not lives_on_disk(mount):
        pytest.skip(
            f"the guest keeps no file system on a disk ({mount.filesystem if mount else 'nothing'} at {_FOLDER})"
        )
    return StoredData(path, _sum_written(batch), mount)


def checksum_snippet(data: StoredData) -> str:
    """A shell snippet that prints the SHA-256 of what is in the file now."""
    return f"sha256sum < {shlex.quote(data.path)}"


# What kernel and fsck said about file systems during this boot. Debian's initrd and dracut leave fsck's words in files;
# systemd's fsck service leaves them in the journal; others have only the console.
FILE_SYSTEM_LOGS = (
    "dmesg; cat /run/initramfs/fsck.log /run/initramfs/fsck-usr.log 2>/dev/null; "
    "command -v journalctl >/dev/null && journalctl --boot --no-pager --quiet --output=cat -u 'systemd-fsck*' 2>/dev/null; :"
)


def reboot_from_inside(guest: Guest) -> str:
    """Tell the guest's own `reboot` to reboot and wait until READY again; returns the boot id of before."""
    before = guest.boot_id()
    # The guest may be quicker than its answer; and Xen's reboot is an end, and a new start.
    with suppress(ChannelLost, ShutOff):
        guest.run(guest.family.script(guest.family.reboot))
    guest.wait_for_reboot(before)
    return before


def _sum_written(batch: Batch) -> str:
    section = batch["write"]
    words = section.text.split()
    if section.status != 0 or not words or len(words[0]) != 64:
        raise CommandFailed(
            f"writing random data in the guest: expected a SHA-256 and status 0, got status {section.status} and "
            f"{section.word[:200]!r}: {batch.error_text.strip()[-300:]}"
        )
    return words[0]
