"""Where SageMaker's container contract puts things.

Everything hangs below one folder, `/opt/ml` on AWS. `SAGEMAKER_BASE_DIR` moves it, so that the same program runs in
a private folder on a machine where nobody may write `/opt/ml`, and `SAGEMAKER_BIND_TO_PORT` moves the server's port
(the name and meaning that SageMaker's own inference toolkits use). No function here creates anything.

Sources: "How Amazon SageMaker Runs Your Training Image", "… Processing Container Image" and "Use Your Own Inference
Code with Hosting Services" in the SageMaker Developer Guide.
"""

import json
import os
from pathlib import Path

from seed_code.common.errors import ClientError

BASE_DIR_VARIABLE = "SAGEMAKER_BASE_DIR"
PORT_VARIABLE = "SAGEMAKER_BIND_TO_PORT"
DEFAULT_BASE_DIR = "/opt/ml"
DEFAULT_PORT = 8080


def base_dir() -> Path:
    """The contract's root folder: `SAGEMAKER_BASE_DIR`, or `/opt/ml` when that is unset or empty."""
    return Path(os.environ.get(BASE_DIR_VARIABLE) or DEFAULT_BASE_DIR)


def config_dir() -> Path:
    """Folder of `hyperparameters.json`, `inputdataconfig.json` and `resourceconfig.json` (training jobs)."""
    return base_dir() / "input" / "config"


def hyperparameters_file() -> Path:
    """The training job's hyperparameters: a JSON object whose values are all strings."""
    return config_dir() / "hyperparameters.json"


def channel_dir(name: str) -> Path:
    """Folder of a training job's input channel."""
    return base_dir() / "input" / "data" / name


def model_dir() -> Path:
    """Where training leaves the model, and where hosting extracts `model.tar.gz` to."""
    return base_dir() / "model"


def output_dir() -> Path:
    """Folder of the files that a job leaves about itself: `failure`, `message`."""
    return base_dir() / "output"


def failure_file() -> Path:
    """A training job's reason for its failure; SageMaker takes the first 1,024 characters as `FailureReason`."""
    return output_dir() / "failure"


def exit_message_file() -> Path:
    """A processing job's last word; SageMaker takes up to one KB of it as `ExitMessage`."""
    return output_dir() / "message"


def processing_job_name() -> str:
    """The name of the processing job that this program runs in; `none` outside of one."""
    config = base_dir() / "config" / "processingjobconfig.json"
    return str(json.loads(config.read_text())["ProcessingJobName"]) if config.is_file() else "none"


def processing_input_dir(name: str) -> Path:
    """Folder of a processing job's input. The pipeline's `LocalPath` must say the same."""
    return base_dir() / "processing" / "input" / name


def processing_output_dir(name: str) -> Path:
    """Folder of a processing job's output. The pipeline's `LocalPath` must say the same."""
    return base_dir() / "processing" / "output" / name


def host() -> str:
    """The address that the inference server listens on.

    In a container, all: the platform calls from outside of it. With the root folder moved there is no container
    around the server, only somebody's machine: loopback.
    """
    return "127.0.0.1" if os.environ.get(BASE_DIR_VARIABLE) else "0.0.0.0"


def port() -> int:
    """The port that the inference server listens on.

    Raises:
        ClientError: when `SAGEMAKER_BIND_TO_PORT` is no port number.
    """
    text = os.environ.get(PORT_VARIABLE) or str(DEFAULT_PORT)
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise ClientError(f"{PORT_VARIABLE} is `{text}`; expected a port number from 1 to 65535")
    return int(text)
