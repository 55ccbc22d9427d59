"""AWS::SageMaker::MlflowTrackingServer, which a template may name and localcloud does not have."""

from __future__ import annotations

from localcloud.cloudformation.errors import ResourceFailed
from localcloud.cloudformation.resources.kind import Call, Properties, ResourceType


class MlflowTrackingServer(ResourceType):
    name = "AWS::SageMaker::MlflowTrackingServer"
    name_property = "TrackingServerName"
    attributes = frozenset({"TrackingServerArn"})
    honours = frozenset(
        {
            "ArtifactStoreUri", "AutomaticModelRegistration", "MlflowVersion", "RoleArn", "Tags", "TrackingServerName",
            "TrackingServerSize", "WeeklyMaintenanceWindowStart",
        }
    )  # fmt: skip

    def create(self, call: Call, properties: Properties) -> str:
        """Raises ResourceFailed always: a template may have one under a condition that does not hold."""
        raise ResourceFailed(
            f"localcloud runs no MLflow tracking server, which {properties['TrackingServerName']} would be; run MLflow "
            "yourself, and give the template its address"
        )

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        """Never called: there is none."""

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        """Likewise."""


TYPES = (MlflowTrackingServer(),)
