"""The service cloudwatch: metrics that are kept, and alarms that are evaluated and act."""
