"""Files of the container contract that several kinds of job share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


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
