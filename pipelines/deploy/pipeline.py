"""The deploy pipeline of a stage, from an approved model package to an endpoint that serves it.

    VerifyPackage ── PackageVerified ─┬─ CreateModel ── UpdateEndpoint ── WaitForEndpoint ── TestEndpoint ── SetScaling
                                      │    ── Deployed ─┬─ MarkServing
                                      │                 └─ RollBack ── WaitForRollBack ── DeploymentFailed (Fail)
                                      └─ PackageRefused (Fail)

A pipeline has no `finally`. From UpdateEndpoint on a step that cannot do its work therefore does not fail: it says so
in its output `Status`, the steps after it pass that on without doing theirs, and `Deployed` decides. What fails all the
same, because a function crashed or somebody stopped the execution, is put right by the function `failures`, which an
event of the ended execution starts.

Nothing here waits in a function: WaitForEndpoint is a Callback step, which the endpoint's own event completes
(`pipelines/deploy/functions/waiting.py`).

`definition` is a pure function of the configuration: it calls nothing, and gives the same bytes every time.

Imports the SageMaker SDK: to be imported inside `pipelines.session.sdk_environment`, as `pipelines.definitions` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sagemaker.core.helper.pipeline_variable import PipelineVariable
from sagemaker.core.lambda_helper import Lambda
from sagemaker.core.workflow.conditions import ConditionEquals
from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.functions import Join
from sagemaker.core.workflow.parameters import Parameter, ParameterInteger, ParameterString
from sagemaker.mlops.workflow.callback_step import CallbackOutput, CallbackOutputTypeEnum, CallbackStep
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.lambda_step import LambdaOutput, LambdaOutputTypeEnum, LambdaStep
from sagemaker.mlops.workflow.model_step import ModelStep
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.steps import Step
from sagemaker.serve.model_builder import ModelBuilder

from pipelines import names as n
from pipelines.config import Configuration, Stage
from pipelines.session import offline_session

Value = str | int


def settings(stage: Stage) -> dict[str, Value]:
    """A stage's settings as parameters of its pipeline. What its mode does not have is empty, or 0."""
    endpoint, deployment, scaling = stage.endpoint, stage.deployment, stage.scaling
    count = endpoint.instance_count or 0
    return {
        "Mode": endpoint.mode,
        "InstanceType": endpoint.instance_type or "",
        "InstanceCount": count,
        "MemoryMb": endpoint.memory_mb or 0,
        "MaxConcurrency": endpoint.max_concurrency or 0,
        "CapturePercent": stage.capture.percent,
        "Traffic": deployment.traffic,
        "StepPercent": deployment.step_percent or 0,
        "WaitSeconds": deployment.wait_seconds,
        "TerminationWaitSeconds": deployment.termination_wait_seconds,
        "TimeoutSeconds": deployment.timeout_seconds,
        "MinInstances": scaling.min_instances if scaling else count,
        "MaxInstances": scaling.max_instances if scaling else count,
        "InvocationsPerInstance": scaling.invocations_per_instance if scaling else 0,
    }


def definition(configuration: Configuration, workload: str, stage: str) -> str:
    """The definition, as JSON text, of the pipeline that deploys a workload's packages to a stage."""
    return str(_Deploy(configuration, workload, stage).pipeline().definition())


class _Deploy:
    """The steps, each a method."""

    def __init__(self, configuration: Configuration, workload: str, stage: str) -> None:
        self.workload, self.stage = workload, stage
        self.names = configuration.names
        self.session = offline_session(self.names)
        self.function = Lambda(function_arn=self.names.function_arn("deploy-steps"), session=self.session)
        self.package = ParameterString(n.MODEL_PACKAGE_ARN)
        self.stage_name = ParameterString(n.STAGE, default_value=stage, enum_values=[stage])
        self.mlflow = ParameterString(n.MLFLOW_TRACKING_URI)
        self.settings: dict[str, Parameter] = {
            name: _parameter(name, value) for name, value in settings(getattr(configuration.stages, stage)).items()
        }

    def pipeline(self) -> Pipeline:
        verify = self.step(
            "VerifyPackage",
            "Verify package",
            "verify",
            {"MlflowTrackingUri": self.mlflow},
            outputs=("ImageUri", "ModelDataUrl"),
        )
        verified = ConditionStep(
            name="PackageVerified",
            display_name="Package verified",
            conditions=[_is_ok(verify)],
            if_steps=self.deployment(),
            else_steps=[self.failure("PackageRefused", "Package refused", "The package is not deployed", verify)],
        )
        return Pipeline(
            name=self.names.pipeline(self.workload, n.DEPLOY_KINDS[self.stage]),
            parameters=[self.package, self.stage_name, self.mlflow, *self.settings.values()],
            # SageMaker Experiments, which the SDK asks for unless told otherwise: there is nothing to compare here.
            pipeline_experiment_config=None,
            steps=[verify, verified],
            sagemaker_session=self.session,
        )

    def deployment(self) -> list[Step]:
        model = self.create_model()
        update = self.step(
            "UpdateEndpoint",
            "Update endpoint",
            "update",
            {"ModelName": model.properties.ModelName, **self.settings},
            outputs=("EndpointName", "EndpointConfigName", "PreviousConfigName"),
        )
        wait = self.wait("WaitForEndpoint", "Wait for endpoint", update, _output(update, "EndpointConfigName"))
        test = self.step("TestEndpoint", "Test endpoint", "test", _passed_on(wait), outputs=("ReportUri",))
        scaling = self.step(
            "SetScaling",
            "Set scaling",
            "scale",
            {
                **_passed_on(test),
                **{name: self.settings[name] for name in ("MinInstances", "MaxInstances", "InvocationsPerInstance")},
            },
        )
        mark = self.step(
            "MarkServing",
            "Mark as serving",
            "mark",
            {
                "EndpointConfigName": _output(update, "EndpointConfigName"),
                "ReportUri": _output(test, "ReportUri"),
                "MlflowTrackingUri": self.mlflow,
            },
        )
        return [
            model,
            update,
            wait,
            test,
            scaling,
            ConditionStep(
                name="Deployed",
                conditions=[_is_ok(scaling)],
                if_steps=[mark],
                else_steps=self.roll_back(update, scaling),
            ),
        ]

    def create_model(self) -> ModelStep:
        builder = ModelBuilder(
            role_arn=self.names.role_arn,
            # Of the model package nothing is known here; without this the builder looks into its own environment.
            dependencies={},
            image_uri="none",
            sagemaker_session=self.session,
        )
        self.session.init_model_step_arguments(builder)
        self.session.create_model(
            name=f"{self.names.endpoint(self.workload, self.stage)}",
            role=self.names.role_arn,
            container_defs={"ModelPackageName": self.package},
        )
        return ModelStep(name="CreateModel", display_name="Create model", step_args=self.session.context)

    def roll_back(self, update: LambdaStep, failed: LambdaStep) -> list[Step]:
        back = self.step(
            "RollBack",
            "Roll back",
            "roll_back",
            {
                "EndpointConfigName": _output(update, "EndpointConfigName"),
                "PreviousConfigName": _output(update, "PreviousConfigName"),
            },
            outputs=("EndpointName", "EndpointConfigName"),
        )
        wait = self.wait("WaitForRollBack", "Wait for roll-back", back, _output(back, "EndpointConfigName"))
        failure = self.failure("DeploymentFailed", "Deployment failed", f"The deployment to {self.stage}", failed, wait)
        return [back, wait, failure]

    # --- their parts ----------------------------------------------------------------------------------------------

    def step(
        self,
        name: str,
        display_name: str,
        action: str,
        inputs: Mapping[str, Value | PipelineVariable],
        outputs: Sequence[str] = (),
    ) -> LambdaStep:
        """A call of the function `deploy-steps`; every one gets what the deployment is about, and gives its status."""
        return LambdaStep(
            name=name,
            display_name=display_name,
            lambda_func=self.function,
            inputs={
                "Action": action,
                "ModelPackageArn": self.package,
                "Stage": self.stage_name,
                "Workload": self.workload,
                "ExecutionArn": ExecutionVariables.PIPELINE_EXECUTION_ARN,
                **inputs,
            },
            outputs=[
                LambdaOutput(output_name=output, output_type=LambdaOutputTypeEnum.String)
                for output in ("Status", "Reason", *outputs)
            ],
        )

    def wait(self, name: str, display_name: str, after: LambdaStep, config: PipelineVariable) -> CallbackStep:
        """Wait until the endpoint has settled on an endpoint configuration, or on another."""
        return CallbackStep(
            name=name,
            display_name=display_name,
            sqs_queue_url=self.names.queue_url("callbacks"),
            inputs={
                **_passed_on(after),
                "EndpointName": _output(after, "EndpointName"),
                "EndpointConfigName": config,
            },
            outputs=[
                CallbackOutput(output_name=output, output_type=CallbackOutputTypeEnum.String)
                for output in ("Status", "Reason")
            ],
        )

    def failure(self, name: str, display_name: str, what: str, *after: Step) -> FailStep:
        """Ends the execution as failed, with the reasons of the steps before."""
        reasons = [_output(step, "Reason") for step in after]
        return FailStep(
            name=name,
            display_name=display_name,
            error_message=Join(on=": ", values=[what, Join(on="; ", values=reasons)]),
        )


def _parameter(name: str, value: Value) -> Parameter:
    if isinstance(value, int):
        return ParameterInteger(name, default_value=value)
    return ParameterString(name, default_value=value)


def _output(step: Step, name: str) -> PipelineVariable:
    variable: PipelineVariable = step.properties.Outputs[name]
    return variable


def _passed_on(step: Step) -> dict[str, PipelineVariable]:
    """What the step after it needs to know whether there is anything to do."""
    return {name: _output(step, name) for name in ("Status", "Reason")}


def _is_ok(step: Step) -> ConditionEquals:
    return ConditionEquals(left=_output(step, "Status"), right="Ok")
