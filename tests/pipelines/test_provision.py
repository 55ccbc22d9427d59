"""What a laptop is given that an account of AWS has by itself."""

from __future__ import annotations

from typing import Any

from pipelines import images, provision
from pipelines.session import client


def test_our_image_stands_in_for_sagemakers_deepar_and_the_newest_does(project: Any) -> None:
    provision.provision(project.session, project.configuration)
    ecr = client(project.session, "ecr")

    def standing_in() -> str:
        registered = images.register(project.session, project.names, images.read(project.root, "cardholders"))
        for _ in range(2):  # again changes nothing
            provision.stand_in_for_deepar(project.session, project.names, registered.uri)
        found = ecr.batch_get_image(
            repositoryName="forecasting-deepar", imageIds=[{"imageTag": "1"}], registryId=project.names.account_id
        )
        tag = registered.uri.rsplit(":", 1)[-1]
        assert tag in found["images"][0]["imageManifest"]
        return tag

    first = standing_in()
    (project.root / "seed_code" / "cardholders" / "program.py").write_text("print('changed')\n")
    assert standing_in() != first


def test_what_is_there_is_left_alone(project: Any) -> None:
    made = provision.provision(project.session, project.configuration)
    assert [what.split()[0] for what in made] == ["bucket", "role", "model", "model", "feature", "feature", "30"]
    assert provision.provision(project.session, project.configuration) == []
