"""CodeBuild: projects, builds that run their commands, what they leave behind, and how they end."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from tests.contract.codebuild_account import Workshop, context_of, phases
from tests.contract.conftest import Running
from tests.contract.sagemaker_account import Account, error_of, until
from tests.contract.stacks import Stacks, template

WHOLE = """
version: 0.2
env:
  variables: {GREETING: hello, OVERRIDDEN: buildspec}
  exported-variables: [SAID, GREETING, NEVER_SET]
phases:
  install:
    runtime-versions: {python: 3.x}
    commands:
      - cd below
      - LEFT=behind
      - export SAID="$GREETING $OVERRIDDEN"
  build:
    commands:
      - |
        echo "$LEFT in $(basename "$PWD")"
        ./tool.sh
      - echo "$SAID" >../made.txt
      - test "$(cat "$CODEBUILD_SRC_DIR_more/more.txt")" = more
artifacts:
  files: [made.txt, "below/**/*"]
  exclude-paths: ["**/unwanted*"]
  secondary-artifacts:
    tool: {files: [tool.sh], base-directory: below, discard-paths: yes}
"""


@pytest.fixture(scope="module")
def account(cloud: Any) -> Account:
    """The account under test."""
    return Account.of(cloud)


@pytest.fixture(scope="module")
def workshop(account: Account) -> Iterator[Workshop]:
    found = Workshop(account)
    yield found
    found.close()


def test_a_build_as_a_pipeline_starts_it(workshop: Workshop) -> None:
    """Sources of S3, variables, artifacts, exported variables: what CodePipeline gives and takes."""
    bucket = workshop.account.bucket
    source = workshop.source(
        {"buildspecs/b.yml": WHOLE, "below/tool.sh": "#!/bin/sh\necho ran\n", "below/unwanted": ""}, ("below/tool.sh",)
    )
    project = workshop.project(
        source={"type": "CODEPIPELINE", "buildspec": "buildspecs/b.yml"}, artifacts={"type": "CODEPIPELINE"}
    )
    build = workshop.build(
        project,
        sourceTypeOverride="S3",
        sourceLocationOverride=source,
        secondarySourcesOverride=[
            {"type": "S3", "location": workshop.source({"more.txt": "more"}), "sourceIdentifier": "more"}
        ],
        artifactsOverride={"type": "S3", "location": bucket, "path": f"{project}/a", "name": "x", "packaging": "ZIP"},
        secondaryArtifactsOverride=[
            {
                "type": "S3", "location": bucket, "path": f"{project}/b", "name": "y", "packaging": "ZIP",
                "artifactIdentifier": "tool",
            }
        ],
        environmentVariablesOverride=[
            {"name": "OVERRIDDEN", "value": "call", "type": "PLAINTEXT"},
            {"name": "CODEBUILD_INITIATOR", "value": "codepipeline/p"},
            {"name": "CODEBUILD_RESOLVED_SOURCE_VERSION", "value": "0123abc"},
        ],
    )  # fmt: skip
    assert build["buildStatus"] == "SUCCEEDED", workshop.log(build)
    assert set(phases(build).values()) == {"SUCCEEDED"}
    assert [phase["phaseType"] for phase in build["phases"]] == [
        "SUBMITTED", "QUEUED", "PROVISIONING", "DOWNLOAD_SOURCE", "INSTALL", "PRE_BUILD", "BUILD", "POST_BUILD",
        "UPLOAD_ARTIFACTS", "FINALIZING", "COMPLETED",
    ]  # fmt: skip
    # A command of several lines is shown with all of them.
    assert workshop.lines(build) == ["./tool.sh", "behind in below", "ran"]
    # One that was never set is not exported.
    assert build["exportedEnvironmentVariables"] == [
        {"name": "SAID", "value": "hello call"},
        {"name": "GREETING", "value": "hello"},
    ]
    assert (build["initiator"], build["resolvedSourceVersion"]) == ("codepipeline/p", "0123abc")
    files = workshop.files(bucket, f"{project}/a/x")
    assert files == {"made.txt": b"hello call\n", "below/tool.sh": b"#!/bin/sh\necho ran\n"}
    assert build["artifacts"]["location"] == f"arn:aws:s3:::{bucket}/{project}/a/x"
    content = workshop.account.content(f"s3://{bucket}/{project}/a/x")
    assert build["artifacts"]["sha256sum"] == hashlib.sha256(content).hexdigest()
    assert list(workshop.files(bucket, f"{project}/b/y")) == ["tool.sh"]
    (secondary,) = build["secondaryArtifacts"]
    assert secondary["artifactIdentifier"] == "tool"
    assert secondary["location"] == f"arn:aws:s3:::{bucket}/{project}/b/y"


def test_a_command_that_fails(workshop: Workshop) -> None:
    build = workshop.build(workshop.project(), "echo first; exit 3", "echo second")
    assert build["buildStatus"] == "FAILED"
    assert phases(build)["BUILD"] == "FAILED"
    assert context_of(build, "BUILD") == (
        "COMMAND_EXECUTION_ERROR",
        "Error while executing command: echo first; exit 3. Reason: exit status 3",
    )
    assert workshop.lines(build) == ["first"]
    # They follow a failed build, too.
    assert phases(build)["POST_BUILD"] == phases(build)["UPLOAD_ARTIFACTS"] == "SUCCEEDED"
    assert any("exit status 3" in line for line in workshop.log(build))


def lives(pid: int) -> bool:
    """Whether a process runs. Nobody may ask for the status of one that has ended: it is a zombie then."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def spec(**members: Any) -> str:
    """A buildspec as inline text. YAML reads JSON, too."""
    return json.dumps({"version": "0.2", **members})


def test_phases_follow_each_other(workshop: Workshop) -> None:
    """After a failed build comes post_build; after a failed installation nothing; on-failure says otherwise."""
    project = workshop.project()
    succeeding = "echo post $CODEBUILD_BUILD_SUCCEEDING"

    def run(phase: str, on_failure: str | None) -> tuple[list[str], dict[str, str]]:
        failing: dict[str, Any] = {"commands": ["false", "echo never"], "finally": ["echo finally"]}
        if on_failure:
            failing["on-failure"] = on_failure
        after = {"build": {"commands": ["echo build"]}, "post_build": {"commands": [succeeding]}}
        build = workshop.build(project, buildspecOverride=spec(phases={**after, phase: failing}))
        assert build["buildStatus"] == "FAILED"
        assert phases(build)[phase.upper()] == "FAILED"
        return workshop.lines(build), phases(build)

    assert run("install", None)[0] == ["finally"]
    assert run("install", "CONTINUE")[0] == ["finally", "build", "post 0"]
    assert run("build", None)[0] == ["finally", "post 0"]
    lines, ended = run("build", "ABORT")
    assert lines == ["finally"]
    assert "POST_BUILD" not in ended
    assert "UPLOAD_ARTIFACTS" not in ended


def test_commands_share_a_shell_as_far_as_on_aws(workshop: Workshop) -> None:
    build = workshop.build(
        workshop.project(),
        buildspecOverride=spec(
            env={"shell": "bash", "variables": {"LIST": 'a\'b "c"\n$d'}},
            phases={
                "pre_build": {"commands": ["cd /", "PLAIN='x  y'", "NEW=1; exit 0"]},
                "build": {
                    "commands": [
                        'echo "$PWD|$PLAIN|$LIST|${NEW-unset}"',
                        "[[ $BASH_VERSION ]] && cat <<< here",
                        "sleep 1000 & echo $! >$CODEBUILD_SRC_DIR/pid",
                        'kill -0 "$(cat $CODEBUILD_SRC_DIR/pid)" && echo alive',
                    ]
                },
            },
        ),
    )
    assert build["buildStatus"] == "SUCCEEDED", workshop.log(build)
    # A command that ends its shell by itself leaves no variables.
    assert workshop.lines(build) == ['/|x  y|a\'b "c"', "$d|unset", "here", "alive"]


def test_what_a_build_finds_around_it(workshop: Workshop) -> None:
    project = workshop.project()
    build = workshop.build(
        project,
        "env",
        "command -v python3 git make >/dev/null && echo tools",
        'python3 -c "import sys; print(sys.prefix == sys.base_prefix)"',
        environmentVariablesOverride=[{"name": "MLFLOW_TRACKING_URI", "value": "http://here"}],
    )
    lines = workshop.lines(build)
    # The Python that localcloud's environment stands on, not that environment.
    assert {"tools", "True"} <= set(lines)
    variables = dict(line.partition("=")[::2] for line in lines)
    assert variables["CODEBUILD_BUILD_ID"] == build["id"]
    assert variables["CODEBUILD_BUILD_NUMBER"] == "1"
    assert variables["CODEBUILD_PROJECT_ARN"].endswith(f":project/{project}")
    assert variables["AWS_DEFAULT_REGION"] == workshop.account.region
    assert variables["MLFLOW_TRACKING_URI"] == "http://here"
    assert variables["HOME"] != variables["CODEBUILD_SRC_DIR"]
    # Of the machine's own environment nothing that tests, or a user, may have set.
    assert not {"PYTEST_CURRENT_TEST", "VIRTUAL_ENV", "USER", "SAGEMAKER_BASE_DIR"} & variables.keys()


def test_values_from_parameter_store_and_secrets_manager(workshop: Workshop) -> None:
    account, name = workshop.account, f"/{workshop.account.name('parameter')}"
    account.client("ssm").put_parameter(Name=name, Value="first-value", Type="SecureString")
    secret = account.name("secret")
    account.client("secretsmanager").create_secret(Name=secret, SecretString=json.dumps({"key": "second-value"}))
    project = workshop.project()
    build = workshop.build(
        project,
        buildspecOverride=spec(
            env={
                "parameter-store": {"ONE": name, "SHADOWED": "/not/there"},
                "secrets-manager": {"TWO": f"{secret}:key", "EXTRA": secret},
                "exported-variables": ["ONE"],
            },
            phases={"build": {"commands": ['echo "$ONE $TWO $THREE"', "echo ${#ONE} ${#TWO}"]}},
        ),
        environmentVariablesOverride=[
            {"name": "THREE", "value": name, "type": "PARAMETER_STORE"},
            {"name": "SHADOWED", "value": "plain"},
        ],
    )
    assert build["buildStatus"] == "SUCCEEDED", workshop.log(build)
    # They are not shown.
    assert workshop.lines(build) == ["*** *** ***", "11 12"]
    assert build["exportedEnvironmentVariables"] == [{"name": "ONE", "value": "first-value"}]
    for env, said in (
        ({"parameter-store": {"ONE": "/not/there"}}, ("Decrypted Variables Error", "parameter does not exist")),
        ({"secrets-manager": {"ONE": "not-there"}}, ("Secrets Manager Error Message", "ResourceNotFoundException")),
        ({"secrets-manager": {"ONE": f"{secret}:no"}}, ("Secrets Manager Error Message", "no key 'no'")),
    ):
        build = workshop.build(project, buildspecOverride=spec(env=env, phases={"build": {"commands": ["true"]}}))
        code, message = context_of(build, "DOWNLOAD_SOURCE")
        assert code == said[0]
        assert said[1] in message


def test_what_cannot_be_downloaded_or_read(workshop: Workshop) -> None:
    bucket = workshop.account.bucket
    workshop.account.s3.put_object(Bucket=bucket, Key="tests/no.zip", Body=b"no zip")
    good = workshop.source({"buildspec.yml": "version: 0.2\nphases: {biuld: {commands: [x]}}"})
    python = spec(phases={"install": {"runtime-versions": {"python": "2.7"}}})
    for location, buildspec, code, said in (
        (f"{bucket}/not/there.zip", None, "CLIENT_ERROR", "NoSuchKey"),
        (f"{bucket}/tests/no.zip", None, "CLIENT_ERROR", "no zip file"),
        (good, None, "YAML_FILE_ERROR", "biuld"),
        (good, "other.yml", "YAML_FILE_ERROR", "other.yml"),
        (good, "../../other.yml", "YAML_FILE_ERROR", "not in the source"),
        (good, python, "YAML_FILE_ERROR", "Unknown runtime version named '2.7' of python"),
    ):
        source = {"type": "S3", "location": location, **({"buildspec": buildspec} if buildspec else {})}
        build = workshop.build(workshop.project(source=source))
        assert build["buildStatus"] == "FAILED"
        assert context_of(build, "DOWNLOAD_SOURCE")[0] == code
        assert said in context_of(build, "DOWNLOAD_SOURCE")[1]
        assert "INSTALL" not in phases(build)


def test_a_folder_of_s3_is_a_source(workshop: Workshop) -> None:
    uri = workshop.account.put(spec(phases={"build": {"commands": ["ls"]}}), "buildspec.yml")
    project = workshop.project(source={"type": "S3", "location": f"{uri.removeprefix('s3://')}/"})
    assert workshop.lines(workshop.build(project)) == ["buildspec.yml"]


JUNIT = """<testsuites><testsuite name="suite">
<testcase classname="a.b" name="good" time="0.5"/>
<testcase classname="a.b" name="bad" time="1"><failure message="no">because</failure></testcase>
<testcase classname="a.b" name="left"><skipped message="later"/></testcase>
</testsuite></testsuites>"""
COBERTURA = """<coverage><packages><package><classes><class filename="a.py"><lines>
<line number="1" hits="1"/><line number="2" hits="0" branch="true" condition-coverage="50% (1/2)"/>
</lines></class></classes></package></packages></coverage>"""


def test_reports(workshop: Workshop) -> None:
    client, project = workshop.client, workshop.project()
    source = workshop.source({"out/tests.xml": JUNIT, "coverage.xml": COBERTURA})
    build = workshop.build(
        project,
        sourceTypeOverride="S3",
        sourceLocationOverride=source,
        buildspecOverride=spec(
            phases={"build": {"commands": ["true"]}},
            reports={
                "tests": {"files": ["**/*.xml"], "base-directory": "out"},
                "coverage": {"files": ["coverage.xml"], "file-format": "COBERTURAXML"},
            },
        ),
    )
    assert build["buildStatus"] == "SUCCEEDED", workshop.log(build)
    tests, coverage = client.batch_get_reports(reportArns=build["reportArns"])["reports"]
    assert (tests["status"], tests["type"], tests["executionId"]) == ("FAILED", "TEST", build["arn"])
    assert tests["testSummary"]["total"] == 3
    assert tests["testSummary"]["statusCounts"]["FAILED"] == 1
    assert tests["testSummary"]["durationInNanoSeconds"] == 1_500_000_000
    cases = client.describe_test_cases(reportArn=tests["arn"])["testCases"]
    assert [(case["name"], case["status"]) for case in cases] == [
        ("bad", "FAILED"), ("good", "SUCCEEDED"), ("left", "SKIPPED"),
    ]  # fmt: skip
    assert (cases[0]["message"], cases[0]["testRawDataPath"]) == ("no\nbecause", "tests.xml")
    (failed,) = client.describe_test_cases(reportArn=tests["arn"], filter={"status": "FAILED"})["testCases"]
    assert failed["name"] == "bad"
    assert coverage["codeCoverageSummary"]["lineCoveragePercentage"] == 50.0
    (file,) = client.describe_code_coverages(reportArn=coverage["arn"])["codeCoverages"]
    assert (file["filePath"], file["branchesCovered"], file["branchesMissed"]) == ("a.py", 1, 1)
    group = tests["reportGroupArn"]
    assert group.endswith(f":report-group/{project}-tests")
    assert client.list_reports_for_report_group(reportGroupArn=group)["reports"] == [tests["arn"]]
    assert error_of(client.delete_report_group, arn=group)[0] == "InvalidInputException"
    client.delete_report_group(arn=group, deleteReports=True)
    found = client.batch_get_report_groups(reportGroupArns=[group, coverage["reportGroupArn"]])
    assert found["reportGroupsNotFound"] == [group]
    assert client.batch_get_reports(reportArns=[tests["arn"]])["reportsNotFound"] == [tests["arn"]]


def test_reports_that_cannot_be_made_fail_the_build(workshop: Workshop) -> None:
    build = workshop.build(
        workshop.project(),
        buildspecOverride=spec(
            phases={"build": {"commands": ["echo '<a/>' >a.xml"]}},
            reports={"gone": {"files": ["gone.xml"]}, "wrong": {"files": ["a.xml"]}},
        ),
    )
    code, message = context_of(build, "UPLOAD_ARTIFACTS")
    assert code == "CLIENT_ERROR"
    assert "gone: [report files not found in build]" in message
    assert "wrong: [a.xml is no JUnit report" in message


def test_artifacts_that_are_not_there(workshop: Workshop) -> None:
    to = {"type": "S3", "location": workshop.account.bucket, "name": "made", "packaging": "ZIP"}
    project = workshop.project(artifacts=to)
    build = workshop.build(project, "true")
    assert "no definition for the primary artifact" in context_of(build, "UPLOAD_ARTIFACTS")[1]
    nothing = spec(phases={"build": {"commands": ["true"]}}, artifacts={"files": ["**/*"]})
    build = workshop.build(project, buildspecOverride=nothing)
    assert context_of(build, "UPLOAD_ARTIFACTS") == ("CLIENT_ERROR", "no matching artifact paths found")


def test_artifacts_as_loose_files_under_a_name_of_the_buildspec(workshop: Workshop) -> None:
    bucket, project = workshop.account.bucket, workshop.account.name("project")
    to = {
        "type": "S3", "location": bucket, "path": project, "namespaceType": "BUILD_ID", "name": "unused",
        "overrideArtifactName": True,
    }  # fmt: skip
    build = workshop.build(
        workshop.project(artifacts=to),
        buildspecOverride=spec(
            phases={"build": {"commands": ["mkdir -p d/e; echo 1 >d/one; echo 2 >d/e/two; WHAT=d"]}},
            artifacts={"files": ["**/*"], "base-directory": "$WHAT", "name": "made-$(echo here)"},
        ),
    )
    place = f"{project}/{build['id'].partition(':')[2]}/made-here"
    assert build["artifacts"]["location"] == f"arn:aws:s3:::{bucket}/{place}"
    assert workshop.account.keys(f"s3://{bucket}/{place}") == ["e/two", "one"]


def test_the_cache_is_kept_and_shared(workshop: Workshop) -> None:
    folder = workshop.account.name("cached")
    buildspec = spec(
        phases={"build": {"commands": [f"[ ! -e {folder}/x ] || echo there", f"echo >{folder}/x"]}},
        cache={"paths": [f"{folder}/**/*"]},
    )
    cached = {"type": "LOCAL", "modes": ["LOCAL_CUSTOM_CACHE"]}
    first, second = workshop.project(cache=cached), workshop.project(cache=cached)
    assert workshop.lines(workshop.build(first, buildspecOverride=buildspec)) == []
    assert workshop.lines(workshop.build(second, buildspecOverride=buildspec)) == ["there"]
    # Not without a cache: there is no such folder then.
    assert workshop.build(workshop.project(), buildspecOverride=buildspec)["buildStatus"] == "FAILED"


def test_a_build_is_stopped_with_all_that_it_started(workshop: Workshop, localcloud_only: None) -> None:
    build_id = workshop.start(workshop.project(), "echo $$; setsid sleep 1000 & echo $!; sleep 1000")

    def written() -> list[str]:
        try:
            return workshop.lines(workshop.get(build_id))
        except workshop.account.logs.exceptions.ResourceNotFoundException:
            return []

    until(lambda: len(written()) == 2, "the build has written")
    pids = [int(line) for line in written()]
    workshop.client.stop_build(id=build_id)
    build = workshop.ended(build_id)
    assert build["buildStatus"] == "STOPPED"
    assert phases(build)["BUILD"] == "STOPPED"
    assert "POST_BUILD" not in phases(build)
    assert not any(lives(pid) for pid in pids)
    # It has ended: nothing changes any more.
    assert workshop.client.stop_build(id=build_id)["build"]["buildStatus"] == "STOPPED"
    again = workshop.client.retry_build(id=build_id)["build"]
    assert (again["buildNumber"], again["projectName"]) == (2, build["projectName"])
    workshop.client.stop_build(id=again["id"])
    assert workshop.ended(again["id"])["buildStatus"] == "STOPPED"


def test_builds_beyond_the_machine_wait_for_their_turn(
    workshop: Workshop, tmp_path: Path, localcloud_only: None
) -> None:
    project, gate = workshop.project(), tmp_path / "gate"
    ids = [
        workshop.start(project, f"until [ -e {gate} ]; do sleep 0.02; done")
        for _ in range(len(os.sched_getaffinity(0)) + 2)
    ]
    until(lambda: workshop.get(ids[-3])["currentPhase"] == "BUILD", "the others run")
    assert [workshop.get(build_id)["currentPhase"] for build_id in ids[-2:]] == ["QUEUED", "QUEUED"]
    workshop.client.stop_build(id=ids[-1])
    stopped = workshop.ended(ids[-1])
    assert (stopped["buildStatus"], phases(stopped)["QUEUED"]) == ("STOPPED", "STOPPED")
    gate.touch()
    assert {workshop.ended(build_id)["buildStatus"] for build_id in ids[:-1]} == {"SUCCEEDED"}
    newest_first = workshop.client.list_builds_for_project(projectName=project)["ids"]
    assert newest_first == ids[::-1]


def test_a_token_starts_one_build(workshop: Workshop) -> None:
    project = workshop.project(concurrentBuildLimit=1)
    token = workshop.account.name("token")
    first = workshop.start(project, "sleep 1000", idempotencyToken=token)
    assert workshop.start(project, "sleep 1000", idempotencyToken=token) == first
    code, message = error_of(workshop.client.start_build, projectName=project, idempotencyToken=token)
    assert (code, "mismatch" in message) == ("InvalidInputException", True)
    code, message = error_of(workshop.client.start_build, projectName=project)
    assert (code, "more than 1 active builds" in message) == ("AccountLimitExceededException", True)
    workshop.client.stop_build(id=first)
    workshop.ended(first)


def test_events_tell_of_builds(workshop: Workshop) -> None:
    account, name, project = workshop.account, workshop.account.name("rule"), workshop.project()
    sqs, events = account.client("sqs"), account.client("events")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    statement = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
    policy = {"Version": "2012-10-17", "Statement": [{**statement, "Resource": queue}]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    pattern = {"source": ["aws.codebuild"], "detail": {"project-name": [project]}}
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": queue}])
    build = workshop.build(project, "false")
    found: list[dict[str, Any]] = []

    def all_there() -> bool:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", ()):
            found.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return len(found) == 12

    until(all_there, "twelve events: the build's begin and end, and its phases")
    states = {
        event["detail"]["build-status"]: event["detail"]
        for event in found
        if event["detail-type"] == "CodeBuild Build State Change"
    }
    assert states.keys() == {"IN_PROGRESS", "FAILED"}
    assert states["FAILED"]["build-id"] == build["arn"]
    assert states["FAILED"]["current-phase"] == "COMPLETED"
    completed = {
        event["detail"]["completed-phase"]: event["detail"]
        for event in found
        if event["detail-type"] == "CodeBuild Build Phase Change"
    }
    assert completed["BUILD"]["completed-phase-status"] == "FAILED"
    assert "COMMAND_EXECUTION_ERROR: Error while" in completed["BUILD"]["completed-phase-context"][0]


def test_projects(workshop: Workshop) -> None:
    client = workshop.client
    name = workshop.project(description="d", tags=[{"key": "a", "value": "b"}], timeoutInMinutes=5)
    (project,) = client.batch_get_projects(names=[name])["projects"]
    assert (project["description"], project["timeoutInMinutes"], project["queuedTimeoutInMinutes"]) == ("d", 5, 480)
    assert project["arn"].endswith(f":project/{name}")
    assert project["tags"] == [{"key": "a", "value": "b"}]
    updated = client.update_project(name=name, description="", tags=[])["project"]
    assert "description" not in updated
    assert (updated["tags"], updated["created"]) == ([], project["created"])
    pages = client.get_paginator("list_projects").paginate()
    assert name in [one for page in pages for one in page["projects"]]
    missing = workshop.account.name("missing")
    assert client.batch_get_projects(names=[missing]).get("projects") == []
    assert error_of(client.start_build, projectName=missing)[0] == "ResourceNotFoundException"
    assert error_of(client.update_project, name=missing)[0] == "ResourceNotFoundException"
    assert error_of(client.list_builds_for_project, projectName=missing)[0] == "ResourceNotFoundException"
    assert error_of(client.stop_build, id=f"{missing}:1")[0] == "ResourceNotFoundException"
    client.delete_project(name=missing)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"source": {"type": "GITHUB", "location": "x"}}, "GITHUB"),
        ({"source": {"type": "S3"}}, "location"),
        ({"source": {"type": "NO_SOURCE"}}, "buildspec"),
        ({"artifacts": {"type": "S3"}}, "location"),
        ({"cache": {"type": "S3", "location": "b"}}, "LOCAL_CUSTOM_CACHE"),
        ({"serviceRole": "me"}, "'me'"),
        ({"serviceRole": "arn:aws:iam::123456789012:role/nobody"}, "not authorized to perform: sts:AssumeRole"),
        ({"badgeEnabled": True}, "badgeEnabled"),
        ({"buildBatchConfig": {"timeoutInMins": 5}}, "buildBatchConfig"),
        ({"logsConfig": {"s3Logs": {"status": "ENABLED", "location": "b"}}}, "s3Logs"),
        ({"secondarySources": [{"type": "S3", "location": "b/k"}]}, "sourceIdentifier"),
    ],
)
def test_what_localcloud_does_not_build_is_refused(
    workshop: Workshop, members: dict[str, Any], said: str, localcloud_only: None
) -> None:
    with pytest.raises(ClientError) as caught:
        workshop.project(**members)
    assert caught.value.response["Error"]["Code"] == "InvalidInputException"
    assert said in caught.value.response["Error"]["Message"]


def test_a_project_of_a_pipeline_is_started_by_one(workshop: Workshop) -> None:
    project = workshop.project(source={"type": "CODEPIPELINE"}, artifacts={"type": "CODEPIPELINE"})
    code, message = error_of(workshop.client.start_build, projectName=project)
    assert (code, "CODEPIPELINE" in message) == ("InvalidInputException", True)


def test_a_stack_makes_and_changes_projects(workshop: Workshop, stacks: Stacks) -> None:
    project = {
        "ServiceRole": workshop.role,
        "Source": {"Type": "NO_SOURCE", "BuildSpec": spec(phases={"build": {"commands": ["echo done"]}})},
        "Artifacts": {"Type": "NO_ARTIFACTS"},
        "Environment": {
            "Type": "LINUX_CONTAINER", "ComputeType": "BUILD_GENERAL1_SMALL", "Image": "aws/codebuild/standard:7.0",
            "EnvironmentVariables": [{"Name": "A", "Value": "1"}],
        },
    }  # fmt: skip
    more = {"Description": "d", "TimeoutInMinutes": 10, "ConcurrentBuildLimit": 1, "Tags": [{"Key": "k", "Value": "v"}]}
    made = template(P=("AWS::CodeBuild::Project", {**project, **more}))
    made["Outputs"] = {"Name": {"Value": {"Ref": "P"}}, "Arn": {"Value": {"Fn::GetAtt": ["P", "Arn"]}}}
    stack_id = stacks.made(made)
    outputs = stacks.outputs(stack_id)
    (found,) = workshop.client.batch_get_projects(names=[outputs["Name"]])["projects"]
    assert found["arn"] == outputs["Arn"]
    assert (found["timeoutInMinutes"], found["concurrentBuildLimit"]) == (10, 1)
    assert {"key": "k", "value": "v"} in found["tags"]
    assert workshop.lines(workshop.build(outputs["Name"])) == ["done"]
    assert stacks.update(stack_id, template(P=("AWS::CodeBuild::Project", project)))["StackStatus"] == "UPDATE_COMPLETE"
    (found,) = workshop.client.batch_get_projects(names=[outputs["Name"]])["projects"]
    assert "concurrentBuildLimit" not in found
    assert "description" not in found
    assert found["timeoutInMinutes"] == 60
    stacks.delete(stack_id)
    assert workshop.client.batch_get_projects(names=[outputs["Name"]])["projectsNotFound"] == [outputs["Name"]]


def test_a_role_that_may_not_write_its_log(workshop: Workshop) -> None:
    role = workshop.new_role(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}
    )
    build = workshop.build(workshop.project(serviceRole=role))
    assert build["buildStatus"] == "FAILED"
    code, message = context_of(build, "PROVISIONING")
    assert code == "ACCESS_DENIED"
    assert "logs:CreateLogStream" in message


def test_what_is_encrypted_is_read_and_written_by_who_may_use_the_key(workshop: Workshop) -> None:
    account = workshop.account
    key = account.client("kms").create_key()["KeyMetadata"]["Arn"]
    bucket, name = account.bucket, account.name("encrypted")
    source = workshop.source(
        {"buildspec.yml": spec(phases={"build": {"commands": ["true"]}}, artifacts={"files": ["*"]})}
    )
    _, _, plain = source.partition("/")
    content = account.content(f"s3://{source}")
    encrypted = f"tests/{name}.zip"
    account.s3.put_object(Bucket=bucket, Key=encrypted, Body=content, ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    allow = {"Effect": "Allow", "Action": ["s3:*", "logs:*"], "Resource": "*"}
    settings = {
        "encryptionKey": key,
        "artifacts": {"type": "S3", "location": bucket, "path": name, "name": "made", "packaging": "ZIP"},
        "serviceRole": workshop.new_role({"Version": "2012-10-17", "Statement": [allow]}),
    }
    reads = workshop.build(workshop.project(source={"type": "S3", "location": f"{bucket}/{encrypted}"}, **settings))
    assert "kms:Decrypt" in context_of(reads, "DOWNLOAD_SOURCE")[1]
    writes = workshop.build(workshop.project(source={"type": "S3", "location": f"{bucket}/{plain}"}, **settings))
    assert "kms:GenerateDataKey" in context_of(writes, "UPLOAD_ARTIFACTS")[1]
    settings["serviceRole"] = workshop.role
    build = workshop.build(workshop.project(source={"type": "S3", "location": f"{bucket}/{encrypted}"}, **settings))
    assert build["buildStatus"] == "SUCCEEDED", workshop.log(build)
    assert account.s3.head_object(Bucket=bucket, Key=f"{name}/made")["SSEKMSKeyId"] == key


def test_a_repository_is_a_source(workshop: Workshop) -> None:
    codecommit, name = workshop.account.client("codecommit"), workshop.account.name("repository")
    made = codecommit.create_repository(repositoryName=name)["repositoryMetadata"]
    buildspec = spec(phases={"build": {"commands": ["git rev-parse HEAD", "cat file"]}})
    first = codecommit.create_commit(
        repositoryName=name,
        branchName="main",
        putFiles=[
            {"filePath": "buildspec.yml", "fileContent": buildspec.encode()},
            {"filePath": "file", "fileContent": b"first\n"},
        ],
    )["commitId"]
    second = codecommit.create_commit(
        repositoryName=name,
        branchName="main",
        parentCommitId=first,
        putFiles=[{"filePath": "file", "fileContent": b"second\n"}],
    )["commitId"]
    project = workshop.project(source={"type": "CODECOMMIT", "location": made["cloneUrlHttp"], "gitCloneDepth": 1})
    build = workshop.build(project)
    assert workshop.lines(build) == [second, "second"]
    assert build["resolvedSourceVersion"] == second
    assert workshop.lines(workshop.build(project, sourceVersion=first)) == [first, "first"]
    failed = workshop.build(project, sourceVersion="no-branch")
    assert "no-branch" in context_of(failed, "DOWNLOAD_SOURCE")[1]
    codecommit.delete_repository(repositoryName=name)
    assert context_of(workshop.build(project), "DOWNLOAD_SOURCE")[0] == "CLIENT_ERROR"


@pytest.mark.slow
def test_a_kill_ends_what_runs_and_keeps_what_waits(
    start_localcloud: Callable[..., Running], client_of: Callable[..., Any], tmp_path: Path
) -> None:
    state, gate = tmp_path / "state", tmp_path / "gate"
    running = start_localcloud(state)
    workshop = Workshop(Account(lambda service: client_of(running, service), "eu-west-1"))
    project = workshop.project()
    side_by_side = len(os.sched_getaffinity(0))
    ids = [
        workshop.start(project, f"echo $$ >>{tmp_path}/pids; until [ -e {gate} ]; do sleep 0.02; done")
        for _ in range(side_by_side + 1)
    ]
    pids = tmp_path / "pids"
    until(lambda: pids.exists() and len(pids.read_text().split()) == side_by_side, "the first ones run")
    running.kill()
    until(lambda: not any(lives(int(pid)) for pid in pids.read_text().split()), "they are gone")
    gate.touch()
    running = start_localcloud(state)
    again = Workshop(Account(lambda service: client_of(running, service), "eu-west-1"))
    for build_id in ids[:-1]:
        build = again.ended(build_id)
        assert build["buildStatus"] == "FAULT"
        assert "localcloud stopped while the build ran" in context_of(build, "BUILD")[1]
    assert again.ended(ids[-1])["buildStatus"] == "SUCCEEDED"
    assert not any((state / "codebuild" / "builds").iterdir())
