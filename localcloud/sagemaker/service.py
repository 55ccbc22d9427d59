"""SageMaker as a service: its parts put together, and its operations by name."""

from __future__ import annotations

from collections.abc import Mapping

from localcloud.context import Context
from localcloud.featurestore.store import FeatureStore
from localcloud.sagemaker.arns import Arns
from localcloud.sagemaker.crud import Resources
from localcloud.sagemaker.domains import Domains
from localcloud.sagemaker.endpoints.operations import Endpoints
from localcloud.sagemaker.feature_groups import FeatureGroups
from localcloud.sagemaker.jobs import Jobs, Runtime, clear
from localcloud.sagemaker.model_registry import ModelRegistry
from localcloud.sagemaker.models import Models
from localcloud.sagemaker.pipelines.cache import Cache
from localcloud.sagemaker.pipelines.executor import Executor, Pause
from localcloud.sagemaker.pipelines.operations import Pipelines
from localcloud.sagemaker.pipelines.steps import Services
from localcloud.sagemaker.processing import Processing
from localcloud.sagemaker.projects.operations import Projects
from localcloud.sagemaker.tags import Tags
from localcloud.sagemaker.training import Training
from localcloud.sagemaker.transform import Transform
from localcloud.service import Handler


class SageMaker:
    """The service. `capacity` is how many jobs run at once (the number of cores where it is not given), `grace_seconds`
    the time that a stopped job has between SIGTERM and SIGKILL, `pause` how retry policies wait (where it is not given,
    by the timetable). A `feature_store` that is given is started and stopped by its owner."""

    name = "sagemaker"

    def __init__(
        self,
        context: Context,
        *,
        feature_store: FeatureStore | None = None,
        capacity: int | None = None,
        grace_seconds: float = 10.0,
        pause: Pause | None = None,
    ) -> None:
        arns = Arns(context.region, context.account_id)
        self._runtime = Runtime(context, capacity, grace_seconds)
        self._processing = Jobs(Processing(), self._runtime, arns)
        self._training = Jobs(Training(), self._runtime, arns)
        registry = ModelRegistry(context, arns, lambda: self._runtime.images)
        models = Models(context, arns, registry)
        self._transform = Jobs(Transform(models), self._runtime, arns)
        services = Services(
            context, self._processing, self._training, self._transform, models, registry, Cache(context.store)
        )
        self._executor = Executor(services, pause)
        self._operations = {
            **_job_operations(self._processing),
            **_job_operations(self._training),
            **_job_operations(self._transform),
            **_registry_operations(registry),
            **_pipeline_operations(Pipelines(context, arns, services, self._executor)),
            **_generic_operations(models.resources),
            "CreateModel": models.create,
        }
        self.endpoints = Endpoints(context, arns, self._runtime, models)
        self._operations |= _endpoint_operations(self.endpoints)
        self._feature_groups = FeatureGroups(context, arns, feature_store or FeatureStore(context))
        self._operations |= _feature_group_operations(self._feature_groups)
        self._projects = Projects(context, arns)
        self._operations |= _project_operations(self._projects) | _domain_operations(Domains(context, arns))
        tags = Tags(context)
        self._operations |= {"AddTags": tags.add, "ListTags": tags.list, "DeleteTags": tags.delete}

    @property
    def operations(self) -> Mapping[str, Handler]:
        """What is implemented, by name."""
        return self._operations

    @property
    def runtime(self) -> Runtime:
        """The images and the watchdog of its jobs, for other services that run programs of images."""
        return self._runtime

    def start(self) -> None:
        """End what an earlier process left unfinished, and make ready for the first job."""
        clear(self._runtime.folder)
        self._processing.recover()
        self._training.recover()
        self._transform.recover()
        self._executor.recover()
        self._feature_groups.recover()
        self.endpoints.start()
        self._projects.recover()
        self._runtime.reaper.start()

    def stop(self) -> None:
        """Kill every job; executions stay as they are in the store, for the next start to end them."""
        self._executor.begin_closing()
        self.endpoints.stop()
        self._processing.close()
        self._training.close()
        self._transform.close()
        self._executor.join()
        self._feature_groups.join()
        self._projects.close()
        self._runtime.reaper.stop()


def _generic_operations(resources: Resources) -> dict[str, Handler]:
    noun = resources.kind.noun
    return {
        f"Create{noun}": resources.create,
        f"Describe{noun}": resources.describe,
        f"Delete{noun}": resources.delete,
        resources.list_operation: resources.list,
    }


def _job_operations(jobs: Jobs) -> dict[str, Handler]:
    noun = jobs.kind.noun
    return {
        f"Create{noun}": jobs.create,
        f"Describe{noun}": jobs.resources.describe,
        f"Stop{noun}": jobs.stop,
        jobs.resources.list_operation: jobs.resources.list,
    }


def _registry_operations(registry: ModelRegistry) -> dict[str, Handler]:
    return {
        "CreateModelPackageGroup": registry.groups.create,
        "DescribeModelPackageGroup": registry.describe_group,
        "ListModelPackageGroups": registry.groups.list,
        "DeleteModelPackageGroup": registry.delete_group,
        "CreateModelPackage": registry.create,
        "DescribeModelPackage": registry.describe,
        "ListModelPackages": registry.list,
        "UpdateModelPackage": registry.update,
        "DeleteModelPackage": registry.delete,
    }


def _endpoint_operations(endpoints: Endpoints) -> dict[str, Handler]:
    return {
        **_generic_operations(endpoints.configs.resources),
        "CreateEndpointConfig": endpoints.configs.create,
        "CreateEndpoint": endpoints.create,
        "UpdateEndpoint": endpoints.update,
        "UpdateEndpointWeightsAndCapacities": endpoints.scale,
        "DescribeEndpoint": endpoints.describe,
        "ListEndpoints": endpoints.resources.list,
        "DeleteEndpoint": endpoints.delete,
    }


def _feature_group_operations(groups: FeatureGroups) -> dict[str, Handler]:
    return {
        "CreateFeatureGroup": groups.create,
        "DescribeFeatureGroup": groups.describe,
        "ListFeatureGroups": groups.list,
        "UpdateFeatureGroup": groups.update,
        "DeleteFeatureGroup": groups.delete,
    }


def _project_operations(projects: Projects) -> dict[str, Handler]:
    return {
        "CreateProject": projects.create,
        "DescribeProject": projects.describe,
        "ListProjects": projects.list,
        "UpdateProject": projects.update,
        "DeleteProject": projects.delete,
    }


def _domain_operations(domains: Domains) -> dict[str, Handler]:
    return {
        "CreateDomain": domains.create,
        "DescribeDomain": domains.describe,
        "ListDomains": domains.list,
        "DeleteDomain": domains.delete,
    }


def _pipeline_operations(pipelines: Pipelines) -> dict[str, Handler]:
    return {
        "CreatePipeline": pipelines.create,
        "UpdatePipeline": pipelines.update,
        "DescribePipeline": pipelines.describe,
        "DescribePipelineDefinitionForExecution": pipelines.describe_definition,
        "DeletePipeline": pipelines.delete,
        "ListPipelines": pipelines.list,
        "StartPipelineExecution": pipelines.start,
        "DescribePipelineExecution": pipelines.describe_execution,
        "ListPipelineExecutions": pipelines.list_executions,
        "ListPipelineExecutionSteps": pipelines.list_steps,
        "ListPipelineParametersForExecution": pipelines.list_parameters,
        "StopPipelineExecution": pipelines.stop,
        "RetryPipelineExecution": pipelines.retry,
        "UpdatePipelineExecution": pipelines.update_execution,
        "SendPipelineExecutionStepSuccess": pipelines.succeed_step,
        "SendPipelineExecutionStepFailure": pipelines.fail_step,
    }
