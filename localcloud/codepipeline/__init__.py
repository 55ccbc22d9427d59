"""AWS CodePipeline, type V2: pipelines of stages and actions, their executions, approvals and triggers."""
