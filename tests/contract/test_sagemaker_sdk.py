"""Definitions as SageMaker Python SDK 3.27.0 renders them, and its own calls: upsert, start, wait, list_steps."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import WaiterError

from tests.contract.sagemaker_account import INSTANCE, Account

# The SDK warns about its own imports, and about a session that starts no job.
pytestmark = pytest.mark.filterwarnings("default")
GATE_PARAMETER = "LeastAuc"


@pytest.fixture(scope="module")
def account(cloud: Any) -> Account:
    """The account under test."""
    return Account.of(cloud)


@pytest.fixture(scope="module")
def sdk_session(account: Account, cloud: Any) -> Any:
    """The SDK's session over the account; telemetry off, and no configuration file of the host's."""
    patch = pytest.MonkeyPatch()
    # Read by the SDK when it is imported, and when a pipeline is created.
    patch.setenv("AWS_DEFAULT_REGION", account.region)
    patch.setenv("SAGEMAKER_VALIDATE_ROLE", "false")
    from sagemaker.core.config.config_manager import SageMakerConfig
    from sagemaker.core.workflow.pipeline_context import PipelineSession

    # The SDK checks the whole configuration against its schema at every value that it looks up, some hundred times for
    # one definition, which takes a second each on a busy machine.
    patch.setattr(SageMakerConfig, "validate_sagemaker_config", staticmethod(lambda sagemaker_config=None: None))
    configuration = {
        "SchemaVersion": "1.0",
        "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
    }
    yield PipelineSession(
        boto_session=cloud.session,
        sagemaker_client=account.sagemaker,
        default_bucket=account.bucket,
        sagemaker_config=configuration,
    )
    patch.undo()


@pytest.fixture(scope="module")
def pipeline(account: Account, sdk_session: Any) -> Any:
    """Prepare -> Train -> Evaluate -> Gate -> Register, or a Fail step: image only, every kind of step that we use."""
    from sagemaker.core.processing import Processor
    from sagemaker.core.shapes import (
        OutputDataConfig,
        ProcessingInput,
        ProcessingOutput,
        ProcessingS3Input,
        ProcessingS3Output,
    )
    from sagemaker.core.workflow.conditions import ConditionGreaterThanOrEqualTo
    from sagemaker.core.workflow.execution_variables import ExecutionVariables
    from sagemaker.core.workflow.functions import Join, JsonGet
    from sagemaker.core.workflow.parameters import ParameterFloat, ParameterInteger, ParameterString
    from sagemaker.core.workflow.properties import PropertyFile
    from sagemaker.mlops.workflow.condition_step import ConditionStep
    from sagemaker.mlops.workflow.fail_step import FailStep
    from sagemaker.mlops.workflow.model_step import ModelStep
    from sagemaker.mlops.workflow.pipeline import Pipeline
    from sagemaker.mlops.workflow.steps import CacheConfig, ProcessingStep, TrainingStep
    from sagemaker.serve.model_builder import ModelBuilder
    from sagemaker.train.configs import Compute, InputData
    from sagemaker.train.model_trainer import ModelTrainer

    epochs = ParameterInteger("Epochs", default_value=5)
    least = ParameterFloat(GATE_PARAMETER, default_value=0.5)
    approval = ParameterString("Approval", default_value="PendingManualApproval")
    cache = CacheConfig(enable_caching=True, expire_after="P30D")
    base = account.new_prefix()

    def processor() -> Any:
        return Processor(
            image_uri=account.image,
            role=account.role,
            instance_count=1,
            instance_type=INSTANCE,
            entrypoint=["act"],
            sagemaker_session=sdk_session,
        )

    def output(step: str, name: str) -> Any:
        uri = Join(on="/", values=[base, ExecutionVariables.PIPELINE_EXECUTION_ID, step, name])
        place = ProcessingS3Output(s3_uri=uri, local_path=f"/opt/ml/processing/{name}", s3_upload_mode="EndOfJob")
        return ProcessingOutput(output_name=name, s3_output=place)

    prepare = ProcessingStep(
        "Prepare",
        step_args=processor().run(
            arguments=["write processing/train/part.csv rows"], outputs=[output("Prepare", "train")]
        ),
        cache_config=cache,
    )
    trainer = ModelTrainer(
        training_image=account.image,
        base_job_name="train",
        hyperparameters={
            "1": "copy input/data/train/part.csv model/weights.bin",
            "2": Join(on=" ", values=["print", epochs]),
        },
        compute=Compute(instance_type=INSTANCE, instance_count=1),
        output_data_config=OutputDataConfig(s3_output_path=f"{base}/models"),
        role=account.role,
        sagemaker_session=sdk_session,
    )
    train = TrainingStep(
        "Train",
        step_args=trainer.train(
            input_data_config=[
                InputData(
                    channel_name="train",
                    data_source=prepare.properties.ProcessingOutputConfig.Outputs["train"].S3Output.S3Uri,
                )
            ]
        ),
        cache_config=cache,
    )
    report = PropertyFile(name="Report", output_name="report", path="evaluation.json")
    model_uri = train.properties.ModelArtifacts.S3ModelArtifacts
    evaluate = ProcessingStep(
        "Evaluate",
        step_args=processor().run(
            arguments=["list processing/model", 'write processing/report/evaluation.json {"metrics":{"auc":0.75}}'],
            inputs=[
                ProcessingInput(
                    input_name="model",
                    s3_input=ProcessingS3Input(
                        s3_uri=model_uri,
                        local_path="/opt/ml/processing/model",
                        s3_data_type="S3Prefix",
                        s3_input_mode="File",
                    ),
                )
            ],
            outputs=[output("Evaluate", "report")],
        ),
        property_files=[report],
        cache_config=cache,
    )
    auc = JsonGet(step_name="Evaluate", property_file=report, json_path="metrics.auc")
    builder = ModelBuilder(
        image_uri=account.image,
        s3_model_data_url=model_uri,
        role_arn=account.role,
        sagemaker_session=sdk_session,
        instance_type=INSTANCE,
        dependencies={},
        log_level=30,
    )
    register = ModelStep(
        "Register",
        step_args=builder.register(
            model_package_group_name=account.name("group"),
            content_types=["application/json"],
            response_types=["application/json"],
            inference_instances=[INSTANCE],
            transform_instances=[INSTANCE],
            approval_status=approval,
            customer_metadata_properties={"auc": Join(on="", values=[auc])},
        ),
    )
    gate = ConditionStep(
        "Gate",
        conditions=[ConditionGreaterThanOrEqualTo(left=auc, right=least)],
        if_steps=[register],
        else_steps=[FailStep("TooLow", error_message=Join(on=" ", values=["auc", auc, "is below", least]))],
    )
    made = Pipeline(
        name=account.name("sdk"),
        parameters=[epochs, least, approval],
        steps=[prepare, train, evaluate, gate],
        sagemaker_session=sdk_session,
    )
    made.upsert(role_arn=account.role)
    return made


def by_name(steps: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {step["StepName"]: step for step in steps}


def test_upsert_start_wait_and_list_steps(account: Account, pipeline: Any) -> None:
    again = pipeline.upsert(role_arn=account.role, tags=[{"Key": "team", "Value": "a"}])
    assert again["PipelineArn"].endswith(pipeline.name)
    assert account.sagemaker.list_tags(ResourceArn=again["PipelineArn"])["Tags"] == [{"Key": "team", "Value": "a"}]

    execution = pipeline.start(parameters={"Epochs": 7}, execution_display_name="first")
    execution.wait(delay=1, max_attempts=60)
    steps = by_name(execution.list_steps())
    assert {name: step["StepStatus"] for name, step in steps.items()} == dict.fromkeys(
        ("Prepare", "Train", "Evaluate", "Gate", "Register"), "Succeeded"
    )
    package = account.sagemaker.describe_model_package(
        ModelPackageName=steps["Register"]["Metadata"]["RegisterModel"]["Arn"]
    )
    assert package["CustomerMetadataProperties"] == {"auc": "0.75"}
    job = steps["Train"]["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    assert account.lines(job, "/aws/sagemaker/TrainingJobs") == ["7"]
    values = {entry["Name"]: entry["Value"] for entry in execution.list_parameters()["PipelineParameters"]}
    assert values == {"Epochs": "7", GATE_PARAMETER: "0.5", "Approval": "PendingManualApproval"}

    # Unchanged but for the gate: what is cached is not run again, and the gate fails.
    second = pipeline.start(parameters={"Epochs": 7, GATE_PARAMETER: 0.8})
    with pytest.raises(WaiterError, match="terminal failure"):
        second.wait(delay=1, max_attempts=60)
    hits = by_name(second.list_steps())
    assert {name for name, step in hits.items() if "CacheHitResult" in step} == {"Prepare", "Train", "Evaluate"}
    assert hits["TooLow"]["Metadata"]["Fail"]["ErrorMessage"] == "auc 0.75 is below 0.8"
    assert second.describe()["PipelineExecutionStatus"] == "Failed"


def test_the_stored_definition_is_what_the_sdk_rendered(account: Account, pipeline: Any) -> None:
    stored = account.sagemaker.describe_pipeline(PipelineName=pipeline.name)["PipelineDefinition"]
    assert json.loads(stored) == json.loads(pipeline.definition())
