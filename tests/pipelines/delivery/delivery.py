"""The way from a push to production, to be driven by tests: a localcloud of its own, the account's stack and the
template published in it, and projects that SageMaker's CreateProject has made from it by the launch role.

Real are CodeCommit with Git, the rules and the functions behind them, CodePipeline, CodeBuild, approvals, the guard,
SageMaker's deploy pipelines with their endpoints, CloudFormation, and every role under IAM, which is enforced. Small
are the programs that the buildspecs run, for what the verbs do is tested elsewhere and takes seconds each: `deploy`
starts the deploy pipeline that the verb starts; the others only say that they ran, and wait where a test wants them to;
the templates that they pack make a log group. The repository's first commit is made for them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines import codepipelines, functions, images, provision
from pipelines import names as n
from pipelines.codepipelines import ENDED, Run
from pipelines.config import Configuration, load
from pipelines.functions import Entry
from pipelines.names import LocalPaths
from pipelines.projects import creation, destruction, following, reading
from pipelines.projects.creation import Wish
from pipelines.projects.destruction import Outcome
from pipelines.projects.things import Account
from pipelines.publishing import publish as publishing
from pipelines.publishing.release import Release
from pipelines.publishing.seed import Seed
from pipelines.session import boto_session
from tests.conftest import Localcloud
from tests.contract.sagemaker_account import until
from tests.pipelines.conftest import ROOT, Project, make_copy
from tests.pipelines.deploy.loop import CARDHOLDERS, STAGES, Loop, Mlflow, Package, furnish
from tests.working_copy import WorkingCopy

ACCOUNT_ID, REGION = "123456789012", "eu-west-1"
POLL_SECONDS = 0.3

_DEPLOY = """\
'''Starts the deploy pipeline of a stage with the package of the approval, and waits for its end.'''
import os, sys, time
sys.path.insert(0, {root!r})
import boto3
from pipelines.deploy.functions.start import start
from pipelines.names import Names

given = os.environ
names = Names(given["SAGEMAKER_PROJECT_NAME"], given["AWS_ACCOUNT_ID"], given["AWS_REGION"])
sagemaker = boto3.client("sagemaker")
arn = start(
    sagemaker, names, given["WORKLOAD"], given["STAGE"], given["MODEL_PACKAGE_ARN"],
    tracking_uri=given["MLFLOW_TRACKING_URI"], token=given["CODEBUILD_BUILD_ID"], why="a test",
)
while True:
    found = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
    if found["PipelineExecutionStatus"] not in ("Executing", "Stopping"):
        print(found["PipelineExecutionStatus"], found.get("FailureReason", ""))
        sys.exit(found["PipelineExecutionStatus"] != "Succeeded")
    time.sleep(0.05)
"""
_STACK = """\
Parameters:
  PermissionsBoundary: {Type: String, Default: ""}
Resources:
  Log:
    Type: AWS::Logs::LogGroup
    Properties: {LogGroupName: !Sub "/aws/lambda/${AWS::StackName}"}
Outputs:
  Boundary: {Value: !Ref PermissionsBoundary}
"""
# Waits as long as its project's folder holds a file of its name; says that it came that far by another one.
_GATE = """\
#!/bin/sh
gate="{gates}/$SAGEMAKER_PROJECT_NAME-$WORKLOAD-$1"
if [ -e "$gate" ]; then touch "$gate-reached"; fi
while [ -e "$gate" ]; do sleep 0.05; done
"""


def _buildspec(*commands: str, rest: str = "") -> str:
    listed = "".join(f"      - {json.dumps(command)}\n" for command in commands)
    return f"version: 0.2\n{rest}phases:\n  build:\n    commands:\n{listed}"


_REPORTS = """\
reports:
  {name}:
    base-directory: reports
    files: ["*.xml"]
    file-format: JUNITXML
"""
_JUNIT = (
    'mkdir -p reports && echo \'<testsuite name="t"><testcase classname="c" name="answers"/></testsuite>\' >'
    " reports/t.xml"
)
_PACK = "mkdir -p packaged && cp stacks/* packaged"
_PACKED = "artifacts: {base-directory: packaged, files: ['**/*']}\n"


def seed(gates: Path) -> Seed:
    """The first commit of a project. gates: the folder whose files hold builds up, see `Delivery.held_up`."""
    files = {
        "README.md": "# A project\n",
        "configs/project.yml": "name: ''\n",
        "configs/workloads/cardholders.yml": "epochs: 1\n",
        "configs/workloads/forecaster.yml": "epochs: 1\n",
        "pipelines/build/graph.py": "",
        "pipelines/monitor/graph.py": "",
        "seed_code/cardholders/train.py": "",
        "seed_code/forecaster/train.py": "",
        "seed_code/common/frames.py": "",
        "programs/deploy.py": _DEPLOY.format(root=str(ROOT)),
        "programs/gate": _GATE.format(gates=gates),
        "stacks/ingestion.yml": _STACK,
        "stacks/ingestion.json": '{"Parameters": {}}',
        "stacks/api.yml": _STACK,
        "stacks/api.json": '{"Parameters": {}}',
        "buildspecs/checks.yml": _buildspec(_JUNIT, rest=_REPORTS.format(name="tests")),
        "buildspecs/images.yml": _buildspec(_PACK, rest=_PACKED),
        "buildspecs/build.yml": _buildspec("sh programs/gate build", "test ! -e fails"),
        "buildspecs/deploy.yml": _buildspec(
            'sh programs/gate "$STAGE"', f"{sys.executable} programs/deploy.py", _PACK, rest=_PACKED
        ),
        "buildspecs/tests.yml": _buildspec(
            _JUNIT,
            'export REPORT_URL="https://reports.example/$WORKLOAD/$VERSION"',
            rest="env: {exported-variables: [REPORT_URL]}\n" + _REPORTS.format(name="endpoint"),
        ),
        "buildspecs/monitor.yml": _buildspec('echo "$WORKLOAD"'),
    }
    return Seed(
        tuple(Entry(name, content.encode(), name == "programs/gate") for name, content in sorted(files.items()))
    )


class Installation:
    """An account in which the template is published."""

    def __init__(self, localcloud: Localcloud, mlflow: Mlflow, folder: Path) -> None:
        self.localcloud, self.mlflow, self.folder = localcloud, mlflow, folder
        self.gates = folder / "gates"
        self.gates.mkdir()
        self.root = make_copy(folder / "copy")
        furnish(self.root)
        prod = self.root / "configs" / "stages" / "prod.yml"
        # No canary: what comes before and after it is looked at here.
        prod.write_text(
            STAGES["staging"] + "scaling: {min_instances: 1, max_instances: 2, invocations_per_instance: 3000}\n"
        )

    def configuration(self, project: str) -> Configuration:
        return load(self.root, environ={"SAGEMAKER_PROJECT_NAME": project, "AWS_ACCOUNT_ID": ACCOUNT_ID})

    def release(self, **changed: Any) -> Release:
        """What is published; changed: attributes that are others."""
        configuration = self.configuration("template")
        defaults = {**provision.configured(configuration), "MlflowTrackingUri": self.mlflow.url}
        template = LocalPaths(ROOT).template.read_text(encoding="utf-8")
        code = functions.pack(ROOT, functions.PIPELINES)
        return replace(Release(configuration.names, template, defaults, code, seed(self.gates)), **changed)

    def publish(self, release: Release | None = None, **given: Any) -> str:
        """Publish it, as `mlops publish` does but for cfn-lint's look at it; gives the version."""
        session = boto_session(self.configuration("template").names)
        published = publishing.publish(
            session, release or self.release(), ROOT, **{"route": "s3", "poll_seconds": POLL_SECONDS, **given}
        )
        return published.version

    def project(self, name: str) -> Delivery:
        """A project, which may have to be made yet."""
        configuration = self.configuration(name)
        return Delivery(Project(self.root, configuration, boto_session(configuration.names)), self)


class Delivery(Loop):
    """A project of the template."""

    def __init__(self, project: Project, installation: Installation) -> None:
        super().__init__(project, installation.mlflow, installation.localcloud)
        self.installation = installation

    def create(self, **wish: Any) -> Delivery:
        """Make it. Its images are registered, and its deploy pipelines brought, as `mlops` does before it approves."""
        status = self.begin(**wish).settled_as()
        assert status == "CreateCompleted", self.failures()
        for image in images.register_all(self.project.session, self.names, self.project.root):
            self._images[image.workload] = image.uri
        self.bring_pipelines((CARDHOLDERS,))
        return self

    def begin(self, **wish: Any) -> Delivery:
        """Ask SageMaker for it."""
        session = self.project.session
        creation.begin(session, creation.plan(session, self.names, self.project.configuration, Wish(**wish)))
        return self

    def settled_as(self) -> str:
        """Its status, once nobody makes or changes it any more."""
        *_, last = following.follow(self.project.session, self.names, POLL_SECONDS)
        return last.status

    def failures(self) -> list[str]:
        """Why its stack failed."""
        project = reading.describe(self.project.session, self.names)
        assert project is not None
        if project.stack is None:
            return [project.reason or project.status]
        return following.failures(self.project.session, project.stack.id)

    def clone(self, folder: Path) -> WorkingCopy:
        project = reading.describe(self.project.session, self.names)
        assert project is not None
        return WorkingCopy.cloned(str(reading.clone_url(self.project.session, project)), folder)

    def destroy(self) -> Outcome:
        return destruction.destroy(Account(self.project.session, self.names, POLL_SECONDS))

    # --- CodePipeline ---------------------------------------------------------------------------------------------

    @property
    def codepipeline(self) -> Any:
        return self.client("codepipeline")

    def executions(self, workload: str, kind: str) -> list[dict[str, Any]]:
        """The executions of a CodePipeline, the newest first."""
        name = self.names.code_pipeline(workload, kind)
        pages = self.codepipeline.get_paginator("list_pipeline_executions").paginate(pipelineName=name)
        return [summary for page in pages for summary in page["pipelineExecutionSummaries"]]

    def all_executions(self) -> dict[str, list[dict[str, Any]]]:
        """Of each CodePipeline that has any, by `cardholders build`."""
        found = {f"{w} {kind}": self.executions(w, kind) for w in n.MONITORED for kind in n.CODE_PIPELINES}
        return {what: executions for what, executions in found.items() if executions}

    def run(self, workload: str, kind: str, execution: str) -> Run:
        return codepipelines.read(self.codepipeline, self.names.code_pipeline(workload, kind), execution)

    def run_of(self, workload: str, kind: str, commit: str) -> Run:
        """The execution for a commit, once it has ended."""
        pipeline = self.names.code_pipeline(workload, kind)
        execution = until(
            lambda: codepipelines.of_commit(self.codepipeline, pipeline, commit), f"{pipeline} builds {commit}"
        )
        return self.over(workload, kind, execution)

    def over(self, workload: str, kind: str, execution: str) -> Run:
        """An execution, once it has ended."""
        return self._once(workload, kind, execution, lambda run: run.status in ENDED, "is over")

    def awaits(self, package: Package) -> Run:
        """The newest delivery of a package, once it waits for a person."""
        run = self._once(
            package.workload,
            n.DEPLOY,
            self.delivery_of(package),
            lambda run: run.waits is not None or run.status in ENDED,
            "waits for a person",
        )
        assert run.waits is not None, told(run)
        return run

    def delivery_of(self, package: Package, *, but: str = "") -> str:
        """The newest execution that delivers a package, once it is there. but: one that it is not."""
        pipeline = self.names.code_pipeline(package.workload, n.DEPLOY)

        def there() -> str | None:
            found = codepipelines.of_package(self.codepipeline, pipeline, package.arn, n.MODEL_PACKAGE_ARN)
            return found if found != but else None

        return str(until(there, f"version {package.version} is being delivered"))

    def delivered(self, package: Package) -> Run:
        """The newest delivery of a package, once it is over."""
        return self.over(package.workload, n.DEPLOY, self.delivery_of(package))

    def _once(self, workload: str, kind: str, execution: str, so: Callable[[Run], bool], what: str) -> Run:
        def there() -> Run | None:
            run = self.run(workload, kind, execution)
            return run if so(run) else None

        run: Run = until(there, f"{workload} {kind} {execution} {what}")
        return run

    def asked(self, run: Run) -> dict[str, str]:
        """What the approval of an execution tells a person."""
        found = self.codepipeline.list_action_executions(
            pipelineName=run.pipeline, filter={"pipelineExecutionId": run.id}
        )["actionExecutionDetails"]
        [action] = [action for action in found if action["actionName"] == "Approve"]
        resolved: dict[str, str] = action["input"]["resolvedConfiguration"]
        return resolved

    def token(self, workload: str) -> str:
        """Of the approval that waits, as a person's console has it."""
        state = self.codepipeline.get_pipeline_state(name=self.names.code_pipeline(workload, n.DEPLOY))
        [stage] = [stage for stage in state["stageStates"] if stage["stageName"] == "Approval"]
        [action] = stage["actionStates"]
        return str(action["latestExecution"]["token"])

    def put_approval(self, workload: str, status: str, summary: str, token: str | None = None) -> None:
        """A person's answer in CodePipeline."""
        self.codepipeline.put_approval_result(
            pipelineName=self.names.code_pipeline(workload, n.DEPLOY),
            stageName="Approval",
            actionName="Approve",
            token=token or self.token(workload),
            result={"status": status, "summary": summary},
        )

    @contextmanager
    def held_up(self, workload: str, where: str) -> Iterator[Path]:
        """Let builds wait at a gate (`build`, `staging`, `prod`) while the block lasts; gives the file that is there
        once one has come that far."""
        gate = self.installation.gates / f"{self.names.project}-{workload}-{where}"
        reached = gate.with_name(f"{gate.name}-reached")
        gate.touch()
        try:
            yield reached
        finally:
            gate.unlink()
            reached.unlink(missing_ok=True)

    def builds(self, project: str) -> list[dict[str, Any]]:
        """The builds of a CodeBuild project (`checks`, say), the newest first."""
        codebuild = self.client("codebuild")
        ids = codebuild.list_builds_for_project(projectName=self.names.build_project(project))["ids"]
        found: list[dict[str, Any]] = codebuild.batch_get_builds(ids=ids)["builds"] if ids else []
        return sorted(found, key=lambda build: build["startTime"], reverse=True)


def told(run: Run) -> str:
    """How far an execution is, for a test that expected something else."""
    actions = "; ".join(f"{one.stage}/{one.name} {one.status} {one.said}" for one in run.actions)
    return f"{run.pipeline} is {run.status} {run.reason}: {actions}"
