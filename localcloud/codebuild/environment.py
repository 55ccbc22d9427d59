"""The environment of a build's commands: of this machine what finds programs and packages, and nothing else.

Source: "Environment variables in build environments" (AWS CodeBuild User Guide).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from localcloud.codebuild.errors import PhaseError

# What an installation of packages needs to know of the machine: where they come from, whom to trust (uv has no variable
# of its own for it), and in which words it speaks.
_PASSED_ON = re.compile(r"(PIP|UV)_\w+|SSL_CERT_(FILE|DIR)|LC_\w+|LANG|LANGUAGE|TZ")
# The user's own settings, which a build with a home of its own would not find.
_SETTINGS = {"PIP_CONFIG_FILE": "pip/pip.conf", "UV_CONFIG_FILE": "uv/uv.toml"}
_SECRET = "localcloud"
# The program of each language that a buildspec may ask for.
_PROGRAMS = {"dotnet": "dotnet", "golang": "go", "java": "java", "nodejs": "node", "php": "php", "ruby": "ruby"}
_ASK_SECONDS = 20


@dataclass(frozen=True)
class Machine:
    """What a build finds here. `environ` is localcloud's own environment."""

    environ: Mapping[str, str]

    def variables(self) -> dict[str, str]:
        """What of localcloud's environment is passed on, and the PATH."""
        found = {name: value for name, value in self.environ.items() if _PASSED_ON.fullmatch(name)}
        return {
            "LANG": "C.UTF-8",
            "UV_CACHE_DIR": str(self._folder("XDG_CACHE_HOME", ".cache") / "uv"),
            **self._settings(),
            **found,
            "PATH": self.path,
        }

    @property
    def path(self) -> str:
        """The folder of the Python that localcloud's environment stands on, and then the machine's own folders. The
        programs of localcloud's environment are not among them: a build has what it installs."""
        own = os.path.dirname(sys.executable)
        base = os.path.dirname(os.path.realpath(sys.executable))
        machine = self.environ.get("PATH", "/usr/bin:/bin").split(":")
        folders = [base, *(folder for folder in machine if folder and (folder != own or own == base))]
        return ":".join(dict.fromkeys(folders))

    def check_runtime(self, language: str, version: str) -> None:
        """Raise PhaseError (YAML_FILE_ERROR) unless this machine has a language in a version (`3.11`, `3.x`, `latest`,
        `corretto17`)."""
        if language == "python":
            found = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
        else:
            program = shutil.which(_PROGRAMS.get(language, ""), path=self.path)
            if program is None:
                here = ["python", *(name for name, one in _PROGRAMS.items() if shutil.which(one, path=self.path))]
                raise PhaseError(
                    "YAML_FILE_ERROR",
                    f"Unknown runtime named '{language}'. This build image has the following runtimes: "
                    + ", ".join(sorted(here)),
                )
            found = _version(program)
        if not _fits(version, found):
            shown = ".".join(found.split(".")[:2])
            raise PhaseError(
                "YAML_FILE_ERROR",
                f"Unknown runtime version named '{version}' of {language}. This build image has the following"
                f" versions: {shown}",
            )

    def _settings(self) -> dict[str, str]:
        files = {name: self._folder("XDG_CONFIG_HOME", ".config") / file for name, file in _SETTINGS.items()}
        return {name: str(file) for name, file in files.items() if file.is_file()}

    def _folder(self, variable: str, default: str) -> Path:
        """A folder of the user's, where the variable or else their home says."""
        named = self.environ.get(variable)
        return Path(named) if named else Path(self.environ.get("HOME") or Path.home()) / default


def credentials(endpoint_url: str, region: str, access_key: str) -> dict[str, str]:
    """What makes the AWS clients of a build call localcloud, as the role that the access key stands for."""
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": _SECRET,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _version(program: str) -> str:
    """The first number with dots that a program says of itself; empty for none."""
    for argument in ("--version", "version"):
        try:
            done = subprocess.run(
                [program, argument], capture_output=True, text=True, timeout=_ASK_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        found = re.search(r"\d+(?:\.\d+)*", done.stdout + done.stderr)
        if done.returncode == 0 and found is not None:
            return found[0]
    return ""


def _fits(asked: str, found: str) -> bool:
    wanted = re.sub(r"^[a-z]+", "", asked.strip().lower())
    if asked.strip().lower() == "latest":
        return True
    parts = [part for part in wanted.split(".") if part not in ("x", "*")]
    return bool(parts) and parts == found.split(".")[: len(parts)]
