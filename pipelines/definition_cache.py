"""Rendered definitions, kept in a folder: a cache that may be deleted, damaged or read-only without harm."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

ENTRIES_KEPT = 32


@dataclass(frozen=True)
class DefinitionCache:
    """Definitions by key. A key is a file name."""

    folder: Path

    def get(self, key: str) -> str | None:
        """The definition under a key; None when there is none, or it is not what was put there."""
        try:
            entry = json.loads(self._file(key).read_bytes())
            definition = entry["definition"]
            if _sha256(definition) == entry["sha256"]:
                return str(definition)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return None

    def put(self, key: str, definition: str) -> None:
        """Keep a definition, and of the others the newest. A folder that cannot be written is done without."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor, partial = tempfile.mkstemp(dir=self.folder, suffix=".partial")
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump({"sha256": _sha256(definition), "definition": definition}, file)
            os.replace(partial, self._file(key))  # two processes at once leave one whole entry
            entries = sorted(self.folder.iterdir(), key=lambda entry: entry.stat().st_mtime_ns)
            for old in entries[:-ENTRIES_KEPT]:
                old.unlink(missing_ok=True)
        except OSError as error:
            logging.getLogger(__name__).debug("definition not kept: %s", error)

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.json"


def _sha256(definition: str) -> str:
    return hashlib.sha256(definition.encode()).hexdigest()
