"""A template of a few resources, in a working copy of its own: publishing and projects are tested without the
true one's eighty.
"""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

ADMIN = """\
AWSTemplateFormatVersion: "2010-09-09"
Description: What an account needs once.
Parameters:
  TemplateVersion: {Type: String, Default: ""}
Conditions:
  IsPublished: !Not [!Equals [!Ref TemplateVersion, ""]]
Resources:
  Noted:
    Type: AWS::SSM::Parameter
    Condition: IsPublished
    Properties: {Name: /mlops/first-version, Type: String, Value: !Ref TemplateVersion}
  Templates:
    Type: AWS::S3::Bucket
    DeletionPolicy: Retain
    UpdateReplacePolicy: Retain
    Properties:
      BucketName: !Sub "mlops-templates-${AWS::AccountId}-${AWS::Region}"
  Launch:
    Type: AWS::IAM::Role
    Properties:
      RoleName: mlops-launch
      AssumeRolePolicyDocument:
        Version: "2012-10-17"
        Statement:
          - Effect: Allow
            Principal: {Service: [sagemaker.amazonaws.com, servicecatalog.amazonaws.com, cloudformation.amazonaws.com]}
            Action: sts:AssumeRole
      Policies:
        - PolicyName: all
          PolicyDocument:
            Version: "2012-10-17"
            Statement:
              - Effect: Allow
                Action: ["s3:*", "ssm:*", "codecommit:*", "events:*", "cloudformation:*"]
                Resource: "*"
Outputs:
  LaunchRoleArn: {Value: !GetAtt Launch.Arn}
"""

# Service Catalog's part of it, before the outputs.
CATALOG = """\
  Portfolio:
    Type: AWS::ServiceCatalog::Portfolio
    Properties: {DisplayName: MLOps, ProviderName: tests}
  Product:
    Type: AWS::ServiceCatalog::CloudFormationProduct
    Condition: IsPublished
    Properties:
      Name: mlops-project
      Owner: tests
      ProvisioningArtifactParameters:
        - Name: !Ref TemplateVersion
          Info:
            LoadTemplateFromURL: !Sub "https://${Templates}.s3.${AWS::Region}.${AWS::URLSuffix}/${TemplateVersion}/project.yml"
  ProductInPortfolio:
    Type: AWS::ServiceCatalog::PortfolioProductAssociation
    Condition: IsPublished
    Properties: {PortfolioId: !Ref Portfolio, ProductId: !Ref Product}
  LaunchConstraint:
    Type: AWS::ServiceCatalog::LaunchRoleConstraint
    Condition: IsPublished
    DependsOn: ProductInPortfolio
    Properties: {PortfolioId: !Ref Portfolio, ProductId: !Ref Product, RoleArn: !GetAtt Launch.Arn}
  Everybody:
    Type: AWS::ServiceCatalog::PortfolioPrincipalAssociation
    Properties:
      PortfolioId: !Ref Portfolio
      PrincipalType: IAM
      PrincipalARN: !Sub "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/mlops-people"
Outputs:
  ProductId:
    Condition: IsPublished
    Value: !Ref Product
"""

PROJECT = """\
AWSTemplateFormatVersion: "2010-09-09"
Description: A project of a few resources.
Parameters:
  SageMakerProjectName: {Type: String}
  SageMakerProjectId:
    Type: String
    Default: ""
  RepositoryProvider: {Type: String, Default: CodeCommit, AllowedValues: [CodeCommit, GitHub, GitHubActions, None]}
  ConnectionArn: {Type: String, Default: ""}
  RepositoryId: {Type: String, Default: ""}
  Workloads: {Type: String, Default: both}
  Overrides: {Type: String, Default: ""}
  SeedBucket: {Type: String}
  SeedKey: {Type: String}
  CodeBucket:
    Type: String
  CodeKey:
    Type: String
  PermissionsBoundary: {Type: String, Default: ""}
  MlflowTrackingUri: {Type: String}
  TemplateVersion: {Type: String}
  Greeting: {Type: String, Default: hello} # of this template alone
CONFIGURED
Conditions:
  OnCodeCommit: !Equals [!Ref RepositoryProvider, CodeCommit]
Resources:
  Bucket:
    Type: AWS::S3::Bucket
    DeletionPolicy: RetainExceptOnCreate
    UpdateReplacePolicy: Retain
    Properties:
      BucketName: !Sub "${SageMakerProjectName}-${AWS::AccountId}-${AWS::Region}"
  Repository:
    Type: AWS::CodeCommit::Repository
    Condition: OnCodeCommit
    Properties:
      RepositoryName: !Ref SageMakerProjectName
      Code: {S3: {Bucket: !Ref SeedBucket, Key: !Ref SeedKey}, BranchName: main}
  Greeted:
    Type: AWS::SSM::Parameter
    Properties:
      Name: !Sub "/${SageMakerProjectName}/greeting"
      Type: String
      Value: !Ref Greeting
  Hourly:
    Type: AWS::Events::Rule
    Properties: {Name: !Sub "${SageMakerProjectName}-hourly", ScheduleExpression: rate(1 hour)}
  Given:
    Type: AWS::SSM::Parameter
    Properties:
      Name: !Sub "/${SageMakerProjectName}/given"
      Type: String
      Value: !Join ["|", [PARAMETERS]]
Outputs:
  CloneUrlHttp:
    Condition: OnCodeCommit
    Value: !GetAtt Repository.CloneUrlHttp
"""

MANIFEST = """\
include: [/configs/, /seed_code/, /template/seed/, /.gitignore]
exclude: [/seed_code/cardholders/secret.py]
rename: {template/seed/: ""}
values:
  configs/project.yml: {name: "", account_id: "", region: "{region}"}
"""

# Parameters that no other resource uses: the last one does, for cfn-lint wants each used.
_UNUSED = (
    "SageMakerProjectId",
    "ConnectionArn",
    "RepositoryId",
    "Workloads",
    "Overrides",
    "CodeBucket",
    "CodeKey",
    "PermissionsBoundary",
    "MlflowTrackingUri",
    "TemplateVersion",
)


def make(folder: Path, configured: list[str], *, lint_cache: Path | None = None, catalog: bool = False) -> Path:
    """A working copy of it.

    configured: the template's parameters that come of the configuration. lint_cache: where it is remembered that
    cfn-lint finds nothing, for several working copies. catalog: whether Service Catalog has a product of it.
    """
    shutil.copytree(ROOT / "configs", folder / "configs")
    (folder / "pipelines").symlink_to(ROOT / "pipelines")
    parameters = "".join(f"  {name}: {{Type: String}}\n" for name in configured).rstrip("\n")
    used = ", ".join(f"!Ref {name}" for name in (*_UNUSED, *configured))
    for name, text in (
        ("template/admin.yml", ADMIN.replace("Outputs:\n", CATALOG) if catalog else ADMIN),
        ("template/project.yml", PROJECT.replace("CONFIGURED", parameters).replace("PARAMETERS", used)),
        ("template/seed.yml", MANIFEST),
        ("template/seed/README.md", "# A project\n"),
        ("seed_code/cardholders/Dockerfile", "FROM python:3.11-slim\n"),
        ("seed_code/cardholders/bin/train", "#!/bin/sh\necho trained\n"),
        ("seed_code/cardholders/secret.py", "# the template's own\n"),
        ("setup.py", 'setup(\n    version="1.2.0",\n)\n'),
        (".gitignore", ".mlops/\n"),
    ):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (folder / "seed_code/cardholders/bin/train").chmod(0o755)
    if lint_cache is not None:
        (folder / ".mlops" / "cache").mkdir(parents=True)
        (folder / ".mlops" / "cache" / "cfn-lint").symlink_to(lint_cache)
    return folder
