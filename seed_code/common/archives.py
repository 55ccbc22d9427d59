"""`model.tar.gz`: what SageMaker makes of a model folder, and what hosting extracts."""

import gzip
import io
import tarfile
from pathlib import Path

from seed_code.common.errors import ClientError


def write(archive: Path, folder: Path) -> None:
    """Pack the files of `folder`, flat, into a tar.gz that depends on their names and content alone.

    Times, owners and the gzip header's file name are fixed, so that the same model gives the same bytes, and so the
    same digest, wherever and whenever it is packed.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for file in sorted(path for path in folder.iterdir() if path.is_file()):
            entry = tarfile.TarInfo(file.name)
            entry.size = file.stat().st_size
            entry.mode = 0o644
            with file.open("rb") as content:
                tar.addfile(entry, content)
    archive.parent.mkdir(parents=True, exist_ok=True)
    with archive.open("wb") as target, gzip.GzipFile(filename="", mode="wb", fileobj=target, mtime=0) as compressed:
        compressed.write(packed.getvalue())


def extract(archive: Path, folder: Path) -> None:
    """Unpack a model archive. Nothing is written outside `folder`: links and paths that lead out of it are refused.

    Raises:
        ClientError: when the archive is missing, is no tar.gz, or holds such an entry.
    """
    if not archive.is_file():
        raise ClientError(f"there is no {archive}; expected the model.tar.gz that a training or package step left")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ClientError(f"{archive} could not be unpacked: {type(error).__name__}: {error}") from error
