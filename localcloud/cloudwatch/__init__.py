"""The service cloudwatch: metrics that are kept, alarms that are evaluated and act, dashboards."""
