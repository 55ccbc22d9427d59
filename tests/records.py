"""What a localcloud of the tests has recorded, left behind for who collects it: `make rights` does."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from localcloud import instance
from localcloud.errors import LocalcloudError

FOLDER = "RIGHTS_FOLDER"
"""The environment variable that names where records are left; without it none is."""


def leave(endpoint: str) -> None:
    """Leave the calls that a localcloud has recorded, which is about to end."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return
    port = int(endpoint.rpartition(":")[2])
    with contextlib.suppress(LocalcloudError):  # tests also kill them
        Path(folder, f"{os.getpid()}-{port}.json").write_text(json.dumps(instance.calls(port, None)))
