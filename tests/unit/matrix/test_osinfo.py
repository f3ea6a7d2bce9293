"""osinfo-db is read lazily, safely and with libosinfo's rules of inheritance."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from matrix.expand import expand
from matrix.model import Devices, GuestSpec
from matrix.osinfo import Osinfo, OsinfoResources, complete, completed
from reports.provenance import versions
from tests.unit.matrix.matrix_examples import guest as example
from tests.unit.matrix.matrix_examples import hypervisor, matrix

DEBIAN = "http://debian.org/debian/12"


def write_os(root: Path, file: str, body: str, os_id: str = DEBIAN) -> Path:
    path = root / "os" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'<?xml version="1.0"?>\n<libosinfo version="0.0.1"><os id="{os_id}">{body}</os></libosinfo>\n')
    return path


def write_device(root: Path, product: str, name: str, kind: str) -> str:
    folder = root / "device" / "pcisig.com" / f"pci-1af4-{product}.d"
    folder.mkdir(parents=True)
    device = f"http://pcisig.com/pci/1af4/{product}"
    (folder / "class.xml").write_text(
        f'<libosinfo version="0.0.1"><device id="{device}"><name>{name}</name><class>{kind}</class></device></libosinfo>'
    )
    return device


@pytest.fixture
def database(tmp_path: Path) -> Path:
    root = tmp_path / "osinfo"
    net = write_device(root, "1000", "virtio-net", "net")
    gpu = write_device(root, "1050", "virtio1.0-gpu", "video")
    block = write_device(root, "1001", "virtio-block", "block")
    write_os(
        root,
        "debian.org/debian-11.xml",
        f"""<name>Debian 11</name><vendor>Debian Project</vendor><eol-date>2026-08-31</eol-date>
        <resources arch="all"><minimum><ram>1000</ram><storage>7</storage></minimum></resources>
        <resources arch="x86_64"><minimum><n-cpus>1</n-cpus><ram>536870913</ram></minimum></resources>
        <devices><device id="{net}"/><device id="{gpu}"/></devices>""",
        "http://debian.org/debian/11",
    )
    write_os(
        root,
        "debian.org/debian-12.xml",
        f"""<short-id>debian12</short-id><short-id>debianbookworm</short-id>
        <name xml:lang="fi">Suomeksi</name><name>Debian 12</name><version>12</version>
        <vendor>Debian Project</vendor><family>linux</family><codename>bookworm</codename>
        <release-date>2023-06-10</release-date><derives-from id="http://debian.org/debian/11"/>
        <upgrades id="http://debian.org/debian/11"/>
        <resources arch="all" inherit="true"><recommended><ram>4000</ram></recommended></resources>
        <devices><device id="{gpu}" supported="false"/><device id="{block}"/></devices>""",
    )
    (root / "VERSION").write_text("20250606\n")
    return root


def test_reads_what_the_file_says(database: Path) -> None:
    entry = Osinfo([database]).find(DEBIAN)
    assert entry is not None
    assert (entry.name, entry.vendor, entry.version, entry.family) == ("Debian 12", "Debian Project", "12", "linux")
    assert entry.short_ids == ("debian12", "debianbookworm")
    assert entry.release_date == date(2023, 6, 10)
    assert entry.upgrades == ("http://debian.org/debian/11",)
    assert entry.sources == (str(database / "os/debian.org/debian-12.xml"),)


def test_inherits_resources_only_where_told_and_never_dates(database: Path) -> None:
    entry = Osinfo([database]).find(DEBIAN)
    assert entry is not None
    assert entry.minimum == OsinfoResources(cpus=1, ram_bytes=536870913)
    assert entry.recommended.ram_bytes == 4000
    assert entry.end_of_life is None
    write_os(
        database,
        "debian.org/debian-13.xml",
        '<derives-from id="http://debian.org/debian/12"/>',
        "http://debian.org/debian/13",
    )
    without_resources = Osinfo([database]).find("http://debian.org/debian/13")
    assert without_resources is not None
    assert without_resources.minimum == OsinfoResources()


def test_resources_of_another_architecture_fall_back_to_those_of_all(database: Path) -> None:
    entry = Osinfo([database]).find("http://debian.org/debian/11", arch="s390x")
    assert entry is not None
    assert (entry.minimum.ram_bytes, entry.minimum.storage_bytes, entry.minimum.cpus) == (1000, 7, None)


def test_devices_are_inherited_and_the_nearest_word_counts(database: Path) -> None:
    osinfo = Osinfo([database])
    newer, older = osinfo.find(DEBIAN), osinfo.find("http://debian.org/debian/11")
    assert newer is not None
    assert older is not None
    assert newer.supports("virtio-net")
    assert newer.supports("virtio-block")
    assert older.supports("virtio-gpu")  # known to the database as virtio1.0-gpu
    assert not newer.supports("virtio-gpu")
    assert {device.kind for device in newer.devices} == {"net", "block"}


def test_only_the_files_that_matter_are_read(database: Path) -> None:
    (database / "os" / "debian.org" / "debian-1.xml").write_text("this is no XML")
    assert Osinfo([database]).find(DEBIAN) is not None


def test_later_folders_replace_files_and_extend_them(database: Path, tmp_path: Path) -> None:
    local, user = tmp_path / "local", tmp_path / "user"
    write_os(local, "debian.org/debian-12.xml", "<name>Ours</name><eol-date>2028-06-30</eol-date>")
    write_os(user, "debian.org/debian-12.d/more.xml", "<name>Not this</name><codename>extended</codename>")
    (user / "VERSION").write_text("20261101\n")
    osinfo = Osinfo([database, local, user, tmp_path / "absent"])
    entry = osinfo.find(DEBIAN)
    assert entry is not None
    assert (entry.name, entry.codename, entry.end_of_life) == ("Ours", "extended", date(2028, 6, 30))
    assert osinfo.version == "20250606 + unversioned + 20261101"


def test_a_file_against_the_naming_rule_is_still_found(database: Path) -> None:
    write_os(database, "acme/ours.xml", "<name>Acme</name>", "http://acme.example/os/1")
    entry = Osinfo([database]).find("http://acme.example/os/1")
    assert entry is not None
    assert entry.name == "Acme"


def test_absent_database_and_unknown_system_say_what_to_do(database: Path, tmp_path: Path) -> None:
    absent = Osinfo([tmp_path / "nowhere"])
    assert absent.find(DEBIAN) is None
    assert absent.version is None
    assert "install the package osinfo-db" in (absent.why_not(DEBIAN) or "")
    osinfo = Osinfo([database])
    assert osinfo.find("http://debian.org/debian/99") is None
    assert osinfo.why_not("http://debian.org/debian/99") == (
        "osinfo-db 20250606 does not know http://debian.org/debian/99: osinfo-db-import --user --latest brings a newer one"
    )
    assert osinfo.why_not(DEBIAN) is None


@pytest.mark.parametrize(
    "os_id",
    [
        "",
        "debian12",
        "http://../debian/12",
        "http://debian.org/../../../etc/passwd",
        "http://debian.org//etc",
        "file:///etc/passwd",
        "http://a/%2e%2e",
        "http://[/\0",
    ],
)
def test_an_id_never_leads_out_of_the_database(database: Path, os_id: str) -> None:
    outside = database.parent / "debian"
    outside.mkdir()
    (outside / "12.xml").write_text(f'<libosinfo><os id="{os_id}"/></libosinfo>'.replace("\0", ""))
    assert Osinfo([database]).find(os_id) is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("<libosinfo><os", "debian-12.xml: "),
        ("<html/>", "is not an osinfo-db file, its root is html"),
        (
            f'<libosinfo><os id="{DEBIAN}"><eol-date>soon</eol-date></os></libosinfo>',
            "debian-12.xml: Invalid isoformat string: 'soon'",
        ),
        (
            f'<libosinfo><os id="{DEBIAN}"><resources arch="all"><minimum><ram>1G</ram></minimum></resources></os></libosinfo>',
            "'1G'",
        ),
        (
            f'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/hostname">]><libosinfo><os id="{DEBIAN}"><name>&f;</name></os></libosinfo>',
            "has a document type",
        ),
        ("<libosinfo>" + " " * 5_000_000 + "</libosinfo>", "larger than any osinfo-db file"),
    ],
    ids=["no-xml", "other-xml", "no-date", "no-number", "entity", "huge"],
)
def test_a_broken_file_is_named_in_one_line(database: Path, content: str, reason: str) -> None:
    (database / "os/debian.org/debian-12.xml").write_text(content)
    osinfo = Osinfo([database])
    assert osinfo.find(DEBIAN) is None
    why = osinfo.why_not(DEBIAN)
    assert why is not None
    assert reason in why
    assert "\n" not in why


def test_relations_that_go_in_a_circle_end(database: Path) -> None:
    write_os(
        database,
        "debian.org/debian-12.xml",
        f'<name>Self</name><clones id="{DEBIAN}"/><derives-from id="http://debian.org/debian/13"/>',
    )
    write_os(database, "debian.org/debian-13.xml", f'<derives-from id="{DEBIAN}"/>', "http://debian.org/debian/13")
    assert Osinfo([database]).find(DEBIAN) is not None


def test_looks_where_libosinfo_looks() -> None:
    environment = {"OSINFO_SYSTEM_DIR": "/a", "OSINFO_LOCAL_DIR": "/b", "OSINFO_USER_DIR": "/c"}
    assert Osinfo.of_this_machine(environment).folders == (Path("/a"), Path("/b"), Path("/c"))
    assert Osinfo.of_this_machine({}).folders[:2] == (Path("/usr/share/osinfo"), Path("/etc/osinfo"))


def guest(**fields: object) -> GuestSpec:
    return GuestSpec.model_validate({"id": "d", "name": "D", "vendor": "V", "version": "1", "image": "d", **fields})


def test_a_guest_is_completed_but_never_contradicted(database: Path) -> None:
    entry = Osinfo([database]).find("http://debian.org/debian/11")
    assert entry is not None
    bare = completed(guest(), entry)
    assert (bare.resources.memory_mib, bare.resources.vcpus, bare.end_of_life) == (513, 2, date(2026, 8, 31))
    own = completed(guest(resources={"memory_mib": 64}, end_of_life="2030-01-01"), entry)
    assert (own.resources.memory_mib, own.end_of_life) == (64, date(2030, 1, 1))
    half = completed(guest(resources={"vcpus": 1}), entry)
    assert (half.resources.memory_mib, half.resources.vcpus) == (513, 1)


def test_a_guest_without_virtio_drivers_gets_emulated_devices(database: Path) -> None:
    card = write_device(database, "100e", "e1000", "net")
    newer = write_device(database, "10d3", "e1000e", "net")
    old = "http://example.org/old/1"
    write_os(database, "example.org/old-1.xml", f'<devices><device id="{card}"/><device id="{newer}"/></devices>', old)
    osinfo = Osinfo([database])
    entry, modern, unknown = osinfo.find(old), osinfo.find(DEBIAN), osinfo.find("http://debian.org/debian/11")
    assert entry is not None
    assert modern is not None
    assert unknown is not None
    assert completed(guest(), entry).devices == Devices(disk="sata", nic="e1000e")
    # What the YAML says, it says.
    own = completed(guest(devices={"disk": "virtio", "display": True}), entry)
    assert own.devices == Devices(disk="virtio", nic="e1000e", display=True)
    assert completed(guest(), modern).devices == Devices()
    # A card that the database does not know to be driven either is not better than virtio.
    assert completed(guest(), entry.model_copy(update={"devices": entry.devices[:0]})).devices == Devices()


def test_cells_are_completed_where_their_guests_leave_something_open(database: Path, tmp_path: Path) -> None:
    write_os(database, "debian.org/debian-12.d/more.xml", "<eol-date>2030-02-03</eol-date>")
    full = {"resources": {"vcpus": 1, "memory_mib": 64}, "end_of_life": "2029-01-01"}
    guests = [
        example("open", osinfo=DEBIAN),
        example("full", osinfo=DEBIAN, **full),
        example("unknown", osinfo="http://debian.org/debian/99"),
        example("silent"),
    ]
    cells = expand(matrix(guests, [hypervisor("kvm", "none", "svm")]), today=date(2026, 1, 1))
    done = complete(cells, Osinfo([database]))
    assert [cell.id for cell in done] == [cell.id for cell in cells]
    ends = {cell.guest.id: cell.guest.end_of_life for cell in done}
    assert ends == {"open": date(2030, 2, 3), "full": date(2029, 1, 1), "unknown": None, "silent": None}
    assert complete(cells, Osinfo([tmp_path / "nowhere"])) == cells


def test_a_run_records_the_databases_version(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SYSTEM", "LOCAL", "USER"):
        monkeypatch.setenv(f"OSINFO_{name}_DIR", str(database if name == "SYSTEM" else database / "nowhere"))
    assert versions()["osinfo-db"] == "20250606"
    monkeypatch.setenv("OSINFO_SYSTEM_DIR", str(database / "nowhere"))
    assert "osinfo-db" not in versions()


@pytest.mark.skipif(not Path("/usr/share/osinfo/os").is_dir(), reason="the package osinfo-db is not installed")
def test_every_system_of_the_installed_database_is_understood() -> None:
    osinfo = Osinfo([Path("/usr/share/osinfo")])
    assert len(osinfo._index) > 500
    for os_id in osinfo._index:
        assert osinfo.why_not(os_id) is None
    fedora = osinfo.find("http://fedoraproject.org/fedora/36")
    assert fedora is not None
    assert fedora.supports("virtio-net")
    assert (fedora.minimum.ram_bytes or 0) >= 2**30
    windows = osinfo.find("http://microsoft.com/win/2k22")
    assert windows is not None
    assert windows.end_of_life == date(2031, 10, 14)
    assert windows.family == "winnt"
