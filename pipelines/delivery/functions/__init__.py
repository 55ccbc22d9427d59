"""The Lambda functions around CodePipeline."""
