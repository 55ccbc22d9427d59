"""SageMaker projects: infrastructure that is made from a template, under one name.

operations  the calls, and what follows a project's infrastructure until its state is known
provider    what makes the infrastructure: one of the two below
stack       a stack of a template in S3
product     a product of Service Catalog

Whoever calls makes the infrastructure: SageMaker passes on the caller's rights, to CloudFormation or to Service
Catalog, and these go on with the launch role where the call, or the product, names one.
Sources: "MLOps Automation With SageMaker Projects" and "Create a MLOps Project using Amazon SageMaker Studio" in the
Developer Guide; CreateProject and its neighbours in the API Reference.
"""
