"""Clients for AWS of programs that are short: what one of them costs is a good part of what they take.

botocore's own, which boto3's are but for their documentation and for transfers of large files: importing both takes as
long as three clients. All share a session, whose files of every service are read without the dictionaries that kept
an order before all did: half of what a client takes.
"""

import gzip
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from botocore.config import Config
from botocore.loaders import JSONFileLoader, create_loader
from botocore.session import Session

_CONNECT_SECONDS = 5.0


class _Files(JSONFileLoader):
    """Reads botocore's descriptions of services."""

    def load_file(self, file_path: str) -> Any:
        """The document in a file, whose path comes without its suffix; None when there is none."""
        plain, packed = Path(f"{file_path}.json"), Path(f"{file_path}.json.gz")
        if plain.is_file():
            return json.loads(plain.read_bytes())
        return json.loads(gzip.decompress(packed.read_bytes())) if packed.is_file() else None


@lru_cache(maxsize=1)
def session() -> Session:
    """The session that all clients share, with the environment's region and credentials."""
    made = Session()
    loader = create_loader(made.get_config_variable("data_path"))
    loader.file_loader = _Files()
    made.register_component("data_loader", loader)
    return made


def client(service: str, *, read_seconds: float = 20.0, attempts: int = 4) -> Any:
    """A client of a service.

    Args:
        read_seconds: without an answer, after which a try has failed.
        attempts: in all; between them it waits longer and longer.
    """
    return session().create_client(
        service,
        config=Config(
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=read_seconds,
            retries={"mode": "standard", "total_max_attempts": attempts},
            # The services check the same: a tenth of a call's cost.
            parameter_validation=False,
        ),
    )
