"""What the Lambda functions of several pipelines share. Like them it carries boto3, AWS Lambda Powertools and
`pipelines/names.py`, nothing else; who reads what they keep imports it too.
"""
