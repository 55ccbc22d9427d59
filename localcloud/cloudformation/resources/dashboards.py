"""AWS::CloudWatch::Dashboard."""

from __future__ import annotations

from localcloud.cloudformation.resources.kind import Call, Properties, ResourceType, exists, refuse_existing


class Dashboard(ResourceType):
    """A dashboard. Its body is text, as CloudFormation asks; what is wrong with it fails the stack."""

    name = "AWS::CloudWatch::Dashboard"
    name_property = "DashboardName"
    honours = frozenset({"DashboardBody", "DashboardName"})

    def create(self, call: Call, properties: Properties) -> str:
        cloudwatch = call.client("cloudwatch")
        name = str(properties.get("DashboardName") or call.new_name(255))
        # The call changes a dashboard that is there; a stack does not take it over.
        if exists(lambda: cloudwatch.get_dashboard(DashboardName=name)):
            refuse_existing(self.name, name)
        cloudwatch.put_dashboard(DashboardName=name, DashboardBody=properties["DashboardBody"])
        return name

    def update(self, call: Call, physical_id: str, before: Properties, after: Properties) -> None:
        cloudwatch = call.client("cloudwatch")
        cloudwatch.put_dashboard(DashboardName=physical_id, DashboardBody=after["DashboardBody"])

    def delete(self, call: Call, physical_id: str, properties: Properties) -> None:
        cloudwatch = call.client("cloudwatch")
        if exists(lambda: cloudwatch.get_dashboard(DashboardName=physical_id)):
            cloudwatch.delete_dashboards(DashboardNames=[physical_id])


TYPES = (Dashboard(),)
