"""What a runner adds to a step: the same chain of steps that do nothing, on localcloud and on its peers, in one run.

Each runner executes a chain of two and a chain of ten steps whose program is `python3 -c pass`; what it adds per step
is (time of ten - time of two) / 8, less the program's own time. The difference leaves start-up out, which favours the
peers: theirs is part of every command, localcloud's is paid once. Rounds are interleaved, figures are medians.

    .venv/bin/python benchmarks/step_overhead.py [--rounds 5]      (make bench sets the peers up)

Metaflow and dvc run each step in a process of its own, as localcloud does; ZenML's local orchestrator runs all of
them in one. The result is kept in benchmarks/results/step_overhead.json.
"""

import argparse
import base64
import contextlib
import gzip
import hashlib
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
from rich.console import Console
from rich.table import Table

from tests.roles import make_role

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / ".venvs/bench/bin"
ACCOUNT, REGION, PORT = "123456789012", "eu-west-1", 4690
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/nothing:1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/bench"
SHORT, LONG = 2, 10
Runner = Callable[[int], None]


def seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def bare_step() -> float:
    """Seconds of the step's own program, as localcloud and dvc start it."""
    return seconds(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))


@contextlib.contextmanager
def localcloud(folder: Path) -> Iterator[Runner]:
    endpoint = f"http://127.0.0.1:{PORT}"
    server = subprocess.Popen(
        [sys.executable, "-m", "localcloud", "up", "--port", str(PORT), "--state", str(folder / "state")],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout
        server.stdout.readline()  # the line that says it is ready
        session = boto3.Session("localcloud", "localcloud", region_name=REGION)
        sagemaker = session.client("sagemaker", endpoint_url=endpoint)
        register_empty_image(session, endpoint)
        make_role(session.client("iam", endpoint_url=endpoint), ROLE.rpartition("/")[2])
        for steps in (SHORT, LONG):
            sagemaker.create_pipeline(
                PipelineName=f"chain-{steps}", RoleArn=ROLE, PipelineDefinition=json.dumps(definition(steps)),
                ClientRequestToken="0" * 32,
            )  # fmt: skip

        def run(steps: int) -> None:
            arn = sagemaker.start_pipeline_execution(PipelineName=f"chain-{steps}")["PipelineExecutionArn"]
            while (now := sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn))[
                "PipelineExecutionStatus"
            ] == "Executing":
                time.sleep(0.01)
            if now["PipelineExecutionStatus"] != "Succeeded":
                raise RuntimeError(f"localcloud's chain of {steps} ended as {now}")

        yield run
    finally:
        server.terminate()
        server.wait()


def register_empty_image(session: boto3.Session, endpoint: str) -> None:
    """An image without files or settings: its programs are the environment's own."""
    layer = io.BytesIO()
    with gzip.GzipFile(fileobj=layer, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w"):
        pass
    config = json.dumps({"config": {}}).encode()

    def described(content: bytes, media: str, **more: object) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        return {"mediaType": f"application/vnd.oci.image.{media}", "digest": digest, "size": len(content), **more}

    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described(config, "config.v1+json", data=base64.b64encode(config).decode()),
        "layers": [described(layer.getvalue(), "layer.v1.tar+gzip", urls=["s3://bench/layer.tar.gz"])],
    }
    s3 = session.client("s3", endpoint_url=endpoint)
    s3.create_bucket(Bucket="bench", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket="bench", Key="layer.tar.gz", Body=layer.getvalue())
    ecr = session.client("ecr", endpoint_url=endpoint)
    ecr.create_repository(repositoryName="nothing")
    ecr.put_image(repositoryName="nothing", imageTag="1", imageManifest=json.dumps(manifest))


def definition(steps: int) -> dict[str, object]:
    cluster = {"InstanceType": "ml.t3.medium", "InstanceCount": 1, "VolumeSizeInGB": 1}
    step = {
        "Type": "Processing",
        "Arguments": {
            "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["python3", "-c", "pass"]},
            "ProcessingResources": {"ClusterConfig": cluster},
            "RoleArn": ROLE,
        },
    }
    chain = [{"Name": f"S{i}", **step, **({"DependsOn": [f"S{i - 1}"]} if i else {})} for i in range(steps)]
    return {"Version": "2020-12-01", "Parameters": [], "Steps": chain}


def quiet(command: list[str | Path], folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"`{' '.join(map(str, command))}` ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def metaflow(folder: Path, environment: dict[str, str]) -> Runner:
    for steps in (SHORT, LONG):
        names = ["start", *(f"step{i}" for i in range(2, steps)), "end"]
        lines = ["from metaflow import FlowSpec, step", "", "class Chain(FlowSpec):"]
        for name, following in zip(names, [*names[1:], None], strict=True):
            body = f"self.next(self.{following})" if following else "pass"
            lines += ["    @step", f"    def {name}(self):", f"        {body}"]
        (folder / f"chain{steps}.py").write_text("\n".join([*lines, "", 'if __name__ == "__main__":', "    Chain()"]))
    return lambda steps: quiet([PEERS / "python", f"chain{steps}.py", "--quiet", "run"], folder, environment)


def dvc(folder: Path, environment: dict[str, str]) -> Runner:
    for steps in (SHORT, LONG):
        project = folder / str(steps)
        project.mkdir()
        quiet([PEERS / "dvc", "init", "--no-scm", "--quiet"], project, environment)
        quiet([PEERS / "dvc", "config", "core.analytics", "false"], project, environment)
        quiet([PEERS / "dvc", "config", "core.check_update", "false"], project, environment)
        stages = {}
        for i in range(steps):
            # A stage depends on another by a file: each writes one, which is the least that dvc can chain.
            stages[f"s{i}"] = {
                "cmd": f"{sys.executable} -c \"open('out{i}', 'w').close()\"",
                "deps": [f"out{i - 1}"] if i else [],
                "outs": [{f"out{i}": {"cache": False}}],
            }
        (project / "dvc.yaml").write_text(json.dumps({"stages": stages}))
    return lambda steps: quiet([PEERS / "dvc", "repro", "--force", "--quiet"], folder / str(steps), environment)


def zenml(folder: Path, environment: dict[str, str]) -> Runner:
    program = ROOT / "benchmarks/peers/zenml_chain.py"
    return lambda steps: quiet([PEERS / "python", program, str(steps)], folder, environment)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=5)
    rounds = arguments.parse_args().rounds
    console = Console()
    if not PEERS.exists():
        sys.exit("the peers are not installed: run `make bench`, or `make .venvs/bench/.installed` first")
    # Byte code as on a user's machine, private homes, and nothing sent anywhere.
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with contextlib.ExitStack() as stack:
        box = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="overhead-")))
        environment = kept | {
            "HOME": str(box),
            "PATH": f"{PEERS}:{kept['PATH']}",
            "USERNAME": "bench",
            "DVC_NO_ANALYTICS": "1",
            "ZENML_ANALYTICS_OPT_IN": "false",
            "ZENML_CONFIG_PATH": str(box / "zen"),
            "ZENML_LOGGING_VERBOSITY": "ERROR",
        }
        runners: dict[str, Runner] = {"localcloud": stack.enter_context(localcloud(box))}
        for peer in (dvc, metaflow, zenml):
            (box / peer.__name__).mkdir()
            runners[peer.__name__] = peer(box / peer.__name__, environment)
        for name, run in runners.items():
            console.print(f"warming {name} …")
            run(SHORT)
        times: dict[str, dict[int, list[float]]] = {name: {SHORT: [], LONG: []} for name in runners}
        bare: list[float] = []
        for number in range(rounds):
            console.print(f"round {number + 1} of {rounds} …")
            for name, run in runners.items():
                bare.append(bare_step())
                for steps in (SHORT, LONG):
                    times[name][steps].append(seconds(lambda run=run, steps=steps: run(steps)))
    program = statistics.median(bare)
    result = {"rounds": rounds, "program_ms": round(program * 1000, 1), "runners": {}}
    table = Table("runner", "ten steps, s", "two steps, s", "added per step, ms", "over localcloud's")
    added = {
        name: (statistics.median(by[LONG]) - statistics.median(by[SHORT])) / (LONG - SHORT) - program
        for name, by in times.items()
    }
    for name, by in times.items():
        ratio = added[name] / added["localcloud"]
        ten, two = statistics.median(by[LONG]), statistics.median(by[SHORT])
        table.add_row(name, f"{ten:.2f}", f"{two:.2f}", f"{added[name] * 1000:.0f}", f"{ratio:.1f}")
        result["runners"][name] = {
            "ten_steps_s": round(ten, 3), "two_steps_s": round(two, 3),
            "added_per_step_ms": round(added[name] * 1000, 1), "ratio": round(ratio, 2),
        }  # fmt: skip
    console.print(table)
    kept_at = ROOT / "benchmarks/results/step_overhead.json"
    kept_at.parent.mkdir(exist_ok=True)
    kept_at.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
