"""JSON documents that steps hand to each other and to SageMaker."""

import json
from pathlib import Path
from typing import Any

from seed_code.common.errors import ClientError


def write(file: Path, document: Any) -> None:
    """Write strict JSON (NaN and infinities are refused: JsonGet and browsers cannot read them), folders included."""
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    file.write_text(text + "\n", encoding="utf-8")


def read(file: Path) -> Any:
    """A JSON document.

    Raises:
        ClientError: when the file is missing or not JSON.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ClientError(f"there is no {file}") from None
    except ValueError as error:
        raise ClientError(f"{file} is not JSON: {error}") from error
