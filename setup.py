"""The project as an installable package: its two commands, and what each part needs.

The versions here are what the code was written against; `requirements/*.txt` pin everything below them
(`make lock`). An image never installs from here: its own `requirements.txt` says what it holds.
"""

from setuptools import find_packages, setup

EXTRAS = {
    # What `pipelines` needs to render a definition: the SageMaker SDK.
    "sdk": ["sagemaker==3.27.0"],
    # What `localcloud` needs to answer for AWS. moto[server] would bring every service's own extras; these are
    # the ones of the leaf services in `localcloud/leaf.py`, plus what its WSGI application imports.
    "localcloud": [
        "cbor2",
        # Of cfn-lint only the schemas that it ships: what CloudFormation knows of each resource type.
        "cfn-lint",
        "defusedxml",
        "duckdb",
        "flask",
        "flask-cors",
        # What Firehose's dynamic partitioning reads records with.
        "jq",
        "jsonschema",
        "moto[dynamodb,s3,ssm]==5.2.5",
        "psutil",
        "pyarrow",
        "pyjwt[crypto]",
        "sqlglot",
        "starlette",
        "uvicorn",
    ],
    # The MLflow server that `mlops up` starts, and the plugin that reads a tracking server's ARN on AWS.
    "mlflow": ["mlflow==3.17.2", "sagemaker-mlflow==0.5.0"],
    # What the images hold (each pins its own in seed_code/*/requirements.txt), so that localcloud can run them.
    "workloads": [
        "anyio",
        "duckdb",
        "evidently",
        "gluonts==0.17.0",
        "httpx",
        "matplotlib",
        "numpy==2.4.6",
        "orjson",
        "pandas==2.3.3",
        "pyarrow",
        "river",
        "scikit-learn==1.9.1",
        "scipy",
        "skops==0.16.0",
        "starlette",
        "tenacity",
        "torch==2.13.0",
        "uvicorn",
        "websockets",
    ],
    # What the Lambda functions carry with them (pipelines/functions.py), and localcloud's find in the environment.
    "functions": ["aws-lambda-powertools", "marshmallow"],
    "test": [
        "hypothesis",
        "playwright",
        "pytest",
        "pytest-cov",
        "pytest-timeout",
        "pytest-xdist",
        "schemathesis",
        "uv",
    ],
}

setup(
    name="sagemaker-mlops-template",
    version="0.1.0",
    description="A SageMaker Studio project template whose pipelines also run, unchanged, on a laptop.",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["pipelines*", "localcloud*", "seed_code*"]),
    install_requires=[
        "boto3==1.43.117",
        "dockerfile-parse==2.0.1",
        # `mlops publish` checks templates with it.
        "cfn-lint",
        "flask-swagger-ui",
        "jinja2",
        "junitparser",
        "pathspec",
        "psutil",
        "pyarrow",
        "pydantic==2.14.3",
        "python-dotenv",
        "pyyaml",
        "requests",
        "rich",
        "setuptools",
        "typer",
    ],
    package_data={
        "pipelines.api": ["*.j2"],
        "pipelines.cost": ["prices/*.json"],
        "pipelines.report": ["*.css", "*.j2"],
    },
    extras_require={**EXTRAS, "all": sorted({need for needs in EXTRAS.values() for need in needs})},
    entry_points={
        "console_scripts": [
            "mlops = pipelines.cli:main",
            "localcloud = localcloud.cli:main",
        ]
    },
)
