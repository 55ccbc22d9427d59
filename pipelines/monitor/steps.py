"""What the monitor pipelines have in common: two steps, and what the starter passes to every execution.

    Evaluate ── ReportWanted ─── DriftReport

Evaluate is one process: it collects, scores and publishes an hour (`seed_code/<workload>/monitor.py`). DriftReport
makes the report that people read (`seed_code/<workload>/drift_report.py`), once a day and when an alarm has fired:
Evidently alone takes seconds to import.

Nothing is ever taken from the cache: what an evaluation leaves behind is not its output alone.

Imports the SageMaker SDK: to be imported inside `pipelines.session.sdk_environment`, as `pipelines.definitions` does.
"""

from __future__ import annotations

from collections.abc import Sequence

from sagemaker.core.helper.pipeline_variable import PipelineVariable
from sagemaker.core.workflow.conditions import ConditionEquals
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.steps import ProcessingStep

from pipelines import names as n
from pipelines.config import Configuration, Job, PageHinkley
from pipelines.steps import Steps, Workload

KIND = "monitor"

Arguments = Sequence[str | PipelineVariable]


class Monitor(Steps):
    """A workload's monitor pipeline."""

    def __init__(self, name: str, workload: Workload, configuration: Configuration, image_uri: str) -> None:
        """name: the workload's. image_uri: the image that its steps run (`names.image_uri`)."""
        super().__init__(name, KIND, workload, configuration, image_uri)
        # No default for what an evaluation is about: an execution without its time would take some clock's.
        for required in (n.EVALUATION_TIME, n.MODEL_PACKAGE_ARN, n.MODEL_VERSION, n.ENDPOINT_CONFIG, n.THRESHOLD):
            self.input(required)
        self.input(n.STAGE, choices=n.MONITORED[name])
        self.input(n.MLFLOW_TRACKING_URI)
        self.input(n.REPORT, n.NO, choices=(n.NO, n.YES))
        self.input(n.REPORT_REASON, n.NO)

    def definition(self, evaluate: Job, evaluation: Arguments, drift_report: Job, report: Arguments) -> str:
        """The pipeline's definition as JSON text.

        evaluation, report: arguments of the two programs beside what both get (`about`).
        """
        told = [*self.about(), *("--threshold", self.input(n.THRESHOLD)), *evaluation]
        first = self.program("Evaluate", evaluate, "monitor", told)
        wanted = ConditionStep(
            name="ReportWanted",
            display_name="Report wanted",
            conditions=[ConditionEquals(left=self.input(n.REPORT), right=n.YES)],
            if_steps=[
                self.program(
                    "DriftReport",
                    drift_report,
                    "drift_report",
                    [*self.about(), *("--reason", self.input(n.REPORT_REASON)), *report],
                )
            ],
            else_steps=[],
            depends_on=[first],
        )
        return str(self.pipeline([first, wanted]).definition())

    def program(self, name: str, job: Job, program: str, arguments: Arguments) -> ProcessingStep:
        return self.processing(
            name, job, program, inputs={}, outputs=(), arguments=arguments, mlflow=True, cached=False
        )

    def about(self) -> Arguments:
        """What both programs are told: the stage, the moment, and what serves there."""
        return [
            *("--project", self.names.project),
            *("--stage", self.input(n.STAGE)),
            *("--evaluation-time", self.input(n.EVALUATION_TIME)),
            *("--model-package-arn", self.input(n.MODEL_PACKAGE_ARN)),
            *("--model-version", self.input(n.MODEL_VERSION)),
            *("--endpoint-config", self.input(n.ENDPOINT_CONFIG)),
            # The programs add the stage, as names.monitor_uri and names.endpoint do.
            *("--monitor-uri", self.names.outputs_uri(self.name, KIND)),
            *("--endpoint-prefix", f"{self.names.project}-{self.name}"),
            *("--capture-uri", self.names.capture_uri(self.name)),
            *("--experiment", self.names.experiment(self.name)),
        ]


def drift_arguments(prefix: str, settings: PageHinkley) -> Arguments:
    """The settings of a test of Page and Hinkley as arguments: `--{prefix}-delta`, `-threshold`, `-min-instances`."""
    return [
        part
        for key, value in settings.model_dump().items()
        for part in (f"--{prefix}-{key.replace('_', '-')}", str(value))
    ]
