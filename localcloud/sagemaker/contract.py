"""Files of the container contract that several kinds of job share."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

from localcloud.jobs import transfer


def resource_config(instance_type: str) -> dict[str, Any]:
    """resourceconfig.json of a job on one instance."""
    return {
        "current_host": "algo-1",
        "current_instance_type": instance_type,
        "current_group_name": "homogeneousCluster",
        "hosts": ["algo-1"],
        "instance_groups": [
            {"instance_group_name": "homogeneousCluster", "instance_type": instance_type, "hosts": ["algo-1"]}
        ],
        "network_interface_name": "lo",
    }


def write_json(path: Path, content: Any) -> None:
    """Write a file of the contract, and the folder it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def unpack_model(s3: Any, uri: str, folder: Path) -> None:
    """The files of a model.tar.gz in S3, in /opt/ml/model. Raises TransferError for what is none."""
    archive = folder.with_name("model.tar.gz")
    archive.write_bytes(transfer.read(s3, uri))
    try:
        with tarfile.open(archive, "r:gz") as stream:
            stream.extractall(folder, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise transfer.TransferError(f"{uri} is no model.tar.gz: {error}") from error
    archive.unlink()
