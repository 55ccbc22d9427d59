"""The cap on an execution, at work: the function `spending` with its rules and its role, on pipelines of small jobs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from pipelines import functions
from pipelines.names import Names
from pipelines.reference import templates
from pipelines.session import client
from tests.contract.sagemaker_account import Account, definition, step, until
from tests.pipelines.conftest import ROOT, Project

CODE = functions.pack(ROOT, functions.PIPELINES)
TEMPLATE = templates.read(ROOT / "template", "project")
EVENTS = "events.amazonaws.com"


@dataclass(frozen=True)
class Capped:
    """A project whose executions have a cap."""

    names: Names
    account: Account
    queue: str
    client: Any

    def start(self, *steps: dict[str, Any], workload: str = "forecaster") -> str:
        """Start a build pipeline of these steps; gives the execution's ARN."""
        name, sagemaker = self.names.pipeline(workload, "build"), self.client("sagemaker")
        sagemaker.create_pipeline(
            PipelineName=name,
            PipelineDefinition=json.dumps(definition(*steps)),
            RoleArn=self.account.role,
            ClientRequestToken=name.ljust(32, "-"),
        )
        return str(sagemaker.start_pipeline_execution(PipelineName=name)["PipelineExecutionArn"])

    def processing(self, name: str, *lines: str, seconds: int) -> dict[str, Any]:
        """A step whose job has a time limit."""
        arguments = self.account.processing(*lines, StoppingCondition={"MaxRuntimeInSeconds": seconds})
        arguments["ProcessingResources"]["ClusterConfig"]["InstanceType"] = "ml.m5.large"
        return step(name, "Processing", arguments)

    def ended(self, arn: str) -> str:
        """How an execution ends."""
        describe = self.client("sagemaker").describe_pipeline_execution

        def status() -> str | None:
            found = str(describe(PipelineExecutionArn=arn)["PipelineExecutionStatus"])
            return found if found in ("Succeeded", "Failed", "Stopped") else None

        return str(until(status, f"{arn} has ended"))

    def notice(self) -> dict[str, str]:
        """The next notice."""
        sqs = self.client("sqs")

        def received() -> Any:
            return sqs.receive_message(QueueUrl=self.queue, WaitTimeSeconds=1).get("Messages")

        [message] = until(received, "a notice")
        sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return dict(json.loads(message["Body"]))

    def look(self, event: dict[str, Any]) -> Any:
        """Call the function, and wait for what it gives."""
        answer = self.client("lambda").invoke(
            FunctionName=self.names.function("spending"), Payload=json.dumps(event).encode()
        )
        payload = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, payload
        return payload


@pytest.fixture
def capped(project: Project, request: pytest.FixtureRequest) -> Iterator[Capped]:
    """The function with its rule as the template makes them; the cap in dollars is the fixture's parameter."""
    names = project.names

    def of(service: str) -> Any:
        return client(project.session, service)

    account = Account(of, names.region)
    sns, sqs, events, functions_of = of("sns"), of("sqs"), of("events"), of("lambda")
    topic = sns.create_topic(Name=names.notices_topic)["TopicArn"]
    queue = sqs.create_queue(QueueName=names.queue("notices"))["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    made = dict(templates.resources(TEMPLATE, "AWS::Lambda::Function"))["SpendingFunction"]
    given = {"ExecutionDollars": str(request.param), "AWS::AccountId": names.account_id, "Notices": topic}
    function = functions_of.create_function(
        FunctionName=_resolved(made["FunctionName"], names, given),
        Runtime=made["Runtime"],
        Handler=made["Handler"],
        Role=_role(of("iam"), names, topic),
        Timeout=made["Timeout"],
        Code={"ZipFile": CODE},
        Environment=_resolved(made["Environment"], names, given),
    )["FunctionArn"]
    rules = dict(templates.resources(TEMPLATE, "AWS::Events::Rule"))
    pattern = _resolved(rules["SpendingRule"]["EventPattern"], names, {})
    rule = events.put_rule(Name=f"{names.project}-spending", EventPattern=json.dumps(pattern))["RuleArn"]
    functions_of.add_permission(
        FunctionName=function, StatementId="rule", Action="lambda:InvokeFunction", Principal=EVENTS, SourceArn=rule
    )
    events.put_targets(Rule=f"{names.project}-spending", Targets=[{"Id": "spending", "Arn": function}])
    yield Capped(names, account, queue, of)
    events.remove_targets(Rule=f"{names.project}-spending", Ids=["spending"])
    events.delete_rule(Name=f"{names.project}-spending")


def _role(iam: Any, names: Names, topic: str) -> str:
    """The function's role as the template makes it, with this topic."""
    place = f"arn:aws:{{}}:{names.region}:{names.account_id}"
    made = {
        "SpendingLog.Arn": f"{place.format('logs')}:log-group:/aws/lambda/{names.project}-spending:*",
        "Notices": topic,
        "DeadLetters.Arn": f"{place.format('sqs')}:{names.project}-dead-letters",
    }
    role = _resolved(dict(templates.resources(TEMPLATE, "AWS::IAM::Role"))["SpendingRole"], names, made)
    trust = json.dumps(role["AssumeRolePolicyDocument"])
    arn = iam.create_role(RoleName=role["RoleName"], AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    for policy in role["Policies"]:
        document = json.dumps(policy["PolicyDocument"])
        iam.put_role_policy(RoleName=role["RoleName"], PolicyName=policy["PolicyName"], PolicyDocument=document)
    return str(arn)


def _resolved(value: Any, names: Names, made: Mapping[str, str]) -> Any:
    """A part of the template for a project. made: by what other resources are named, what they are."""
    if isinstance(value, list):
        return [_resolved(each, names, made) for each in value]
    if not isinstance(value, dict):
        return value
    if "Fn::If" in value:  # a permissions boundary, a VPC: none here
        return _resolved(value["Fn::If"][2], names, made)
    if "Fn::GetAtt" in value:
        return made[".".join(value["Fn::GetAtt"])]
    if "Ref" in value:
        return {"SageMakerProjectName": names.project, "AWS::NoValue": None, **made}[value["Ref"]]
    if "Fn::Sub" in value:
        known = {
            "SageMakerProjectName": names.project,
            "AWS::Partition": "aws",
            "AWS::Region": names.region,
            "AWS::AccountId": names.account_id,
        }
        return re.sub(r"\$\{([\w:]+)\}", lambda found: known[found[1]], value["Fn::Sub"])
    return {key: _resolved(each, names, made) for key, each in value.items()}


# A job on ml.m5.large may cost 12.8 cents an hour.


@pytest.mark.parametrize("capped", [0.1], indirect=True)
def test_an_execution_is_stopped_whose_job_may_exceed_the_cap(capped: Capped) -> None:
    arn = capped.start(capped.processing("Prepare", "hang", seconds=3600))
    notice = capped.notice()
    assert capped.ended(arn) == "Stopped"
    assert notice["Subject"] == f"{capped.names.pipeline('forecaster', 'build')}: execution stopped, its cap is reached"
    assert notice["Message"].startswith(
        f"{arn}\nIts jobs have cost $0.00, and what runs may cost $0.13 more (Prepare on "
    )
    assert "1 x ml.m5.large for up to 3600 s" in notice["Message"]
    assert "above the cap of $0.10 on an execution. It was stopped." in notice["Message"]
    [job] = capped.client("sagemaker").list_pipeline_execution_steps(PipelineExecutionArn=arn)["PipelineExecutionSteps"]
    name = job["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2]
    described = capped.client("sagemaker").describe_processing_job(ProcessingJobName=name)
    assert described["ProcessingJobStatus"] == "Stopped"


@pytest.mark.parametrize("capped", [0.2], indirect=True)
def test_what_the_jobs_may_cost_together_counts(capped: Capped) -> None:
    """Each alone is below the cap, both at once are not."""
    machine = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
    training = step("Two", "Training", capped.account.training("hang", ResourceConfig=machine))
    arn = capped.start(capped.processing("One", "hang", seconds=3600), training)
    assert "together $0.26, above the cap of $0.20" in capped.notice()["Message"]
    assert capped.ended(arn) == "Stopped"


@pytest.mark.parametrize("capped", [0.1], indirect=True)
def test_below_the_cap_nothing_happens_and_a_machine_without_a_price_is_not_let_run(capped: Capped) -> None:
    arn = capped.start(capped.processing("Prepare", "print done", seconds=600))
    assert capped.ended(arn) == "Succeeded"
    unpriced = capped.processing("Prepare", "hang", seconds=60)
    unpriced["Arguments"]["ProcessingResources"]["ClusterConfig"]["InstanceType"] = "ml.r5.24xlarge"
    capped.client("sagemaker").update_pipeline(
        PipelineName=capped.names.pipeline("forecaster", "build"), PipelineDefinition=json.dumps(definition(unpriced))
    )
    again = capped.client("sagemaker").start_pipeline_execution(
        PipelineName=capped.names.pipeline("forecaster", "build")
    )["PipelineExecutionArn"]
    message = capped.notice()["Message"]  # the first execution led to none
    assert message.startswith(f"{again}\nWhat it costs cannot be reckoned: eu-west-1.json has no price of ")
    assert capped.ended(again) == "Stopped"


@pytest.mark.parametrize("capped", [0.1], indirect=True)
def test_the_schedule_looks_at_all_executions_that_run(capped: Capped) -> None:
    """Without the rule for steps, so that the schedule is the first to see an execution."""
    capped.client("events").disable_rule(Name=f"{capped.names.project}-spending")
    arn = capped.start(capped.processing("Prepare", "hang", seconds=3600), workload="cardholders")

    def has_a_job() -> Any:
        found = capped.client("sagemaker").list_pipeline_execution_steps(PipelineExecutionArn=arn)
        return [each for each in found["PipelineExecutionSteps"] if each.get("Metadata")]

    until(has_a_job, "the job is there")
    scheduled = {"detail-type": "Scheduled Event", "time": "2026-11-22T14:00:00Z", "detail": {}}
    assert capped.look(scheduled) == {arn: "stopped"}
    assert capped.ended(arn) == "Stopped"
    assert capped.look(scheduled) == {}
    detail = {"pipelineExecutionArn": arn, "pipelineArn": arn.partition("/execution/")[0]}
    assert capped.look({"time": "2026-11-22T14:00:00Z", "detail": detail}) == {arn: "ended"}
    other = {**detail, "pipelineArn": detail["pipelineArn"].replace(capped.names.project, f"{capped.names.project}-x")}
    assert capped.look({"time": "2026-11-22T14:00:00Z", "detail": other}) == {}


@pytest.mark.parametrize("capped", [0.1], indirect=True)
def test_a_transform_that_does_not_end_is_stopped_when_it_has_cost_the_cap(capped: Capped) -> None:
    account = capped.account
    account.sagemaker.create_model(
        ModelName=capped.names.project, PrimaryContainer={"Image": account.image}, ExecutionRoleArn=account.role
    )
    data = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": account.put("wait", "a.txt")}}
    arguments = {
        "ModelName": capped.names.project,
        "TransformInput": {"DataSource": data},
        "TransformOutput": {"S3OutputPath": account.new_prefix()},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }
    arn = capped.start(step("Transform", "Transform", arguments))

    def begun() -> Any:
        found = account.steps(arn).get("Transform", {}).get("Metadata", {}).get("TransformJob", {}).get("Arn")
        job = found and account.sagemaker.describe_transform_job(TransformJobName=found.rpartition("/")[2])
        return job and job.get("TransformStartTime")

    start = until(begun, "the transform has its machine")

    def after(minutes: int) -> dict[str, str]:
        moment = start + timedelta(minutes=minutes)
        return dict(capped.look({"time": moment.isoformat(), "detail": {}}))

    assert after(10) == {arn: "within"}
    assert after(60) == {arn: "stopped"}
    message = capped.notice()["Message"]
    assert "Its jobs have cost $0.13, and what runs may cost $0.00 more (Transform on 1 x ml.m5.large):" in message
    assert capped.ended(arn) == "Stopped"
