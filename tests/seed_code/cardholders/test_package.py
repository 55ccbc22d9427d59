"""The package: the model file format, the manifest, and the archive that is the same for the same parts."""

import functools
import importlib
import io
import json
import os
import shutil
import tarfile
import zipfile

import numpy as np
import pytest

from seed_code.cardholders import frames, model_format, package
from seed_code.cardholders.features import STORED_FEATURE_NAMES, STORED_FEATURES
from seed_code.cardholders.scorer import Scorer
from seed_code.common import archives
from seed_code.common.errors import ClientError


@pytest.fixture(scope="module")
def manifest(packaged):
    return json.loads((packaged / "manifest.json").read_text())


def _package(parts, prepared, output, threshold=0.5):
    holdout = prepared / "holdout" / "examples.parquet"
    return package.package(parts / "clusters.tar.gz", parts / "purchase.tar.gz", holdout, output, threshold)


def test_the_same_parts_give_the_same_bytes(parts, prepared, packaged, tmp_path):
    _package(parts, prepared, tmp_path)
    assert (tmp_path / "model.tar.gz").read_bytes() == (packaged / "model.tar.gz").read_bytes()


def test_the_archive_is_flat_and_holds_the_three_files(packaged):
    with tarfile.open(packaged / "model.tar.gz") as tar:
        members = tar.getmembers()
    assert [member.name for member in members] == ["clusters.skops", "manifest.json", "purchase.skops"]
    assert {(member.mtime, member.uid, member.mode) for member in members} == {(0, 0, 0o644)}


def test_the_manifest_says_what_a_caller_and_an_auditor_need(manifest, prepared):
    request = manifest["request"]
    assert request["max_days"] == request["fields"]["k"]["maximum"] == 30
    assert request["threshold"] == 0.5
    assert [feature["name"] for feature in request["features"]] == list(STORED_FEATURE_NAMES)
    assert request["features"][0]["unit"] == STORED_FEATURES[0].unit
    assert manifest["training"]["window"]["train"] == {"first": "2014-01-06", "last": "2014-02-10"}
    assert manifest["training"]["hyperparameters"]["purchase"]["max_iterations"] == 20
    assert set(manifest["libraries"]) == {"python", "numpy", "scikit-learn", "scipy", "skops"}
    assert 0.5 < manifest["training"]["metrics"]["purchase"]["roc_auc"] <= 1
    assert len(manifest["clusters"]["profiles"]) == manifest["clusters"]["chosen_k"]


def test_the_model_holds_no_holder(packaged, prepared):
    holder = frames.read(prepared / "train" / "examples.parquet", ["holder"])["holder"][0].encode()
    with tarfile.open(packaged / "model.tar.gz") as tar:
        for member in tar.getmembers():
            content = tar.extractfile(member).read()
            assert holder not in content
            assert holder.hex().encode() not in content


def test_golden_requests_cover_the_ways_to_ask_and_the_scorer_repeats_their_answers(manifest, scorer):
    golden = manifest["golden"]
    single = [entry["request"] for entry in golden if isinstance(entry["request"], dict)]
    assert any(len(request.get("features", {})) == len(STORED_FEATURES) for request in single)
    assert any("features" not in request for request in single)
    calendar = {"weekday", "month_of_year", "days_to_month_end"}
    assert any(set(request.get("features", {})) == calendar for request in single)
    assert {1, 30} <= {request["k"] for request in single}
    assert any(isinstance(entry["request"], list) for entry in golden)
    for entry in golden:
        assert scorer.answer(entry["request"]) == entry["response"]


def test_another_threshold_is_another_model_version(parts, prepared, manifest, tmp_path):
    strict = _package(parts, prepared, tmp_path, threshold=1.0)
    assert strict["model_version"] != manifest["model_version"]
    answers = [entry["response"] for entry in strict["golden"] if isinstance(entry["response"], dict)]
    assert not any(answer["will_spend"] for answer in answers)


def test_swapped_parts_are_refused(parts, prepared, tmp_path):
    holdout = prepared / "holdout" / "examples.parquet"
    with pytest.raises(ClientError, match=r"hold no purchase\.skops"):
        package.package(parts / "clusters.tar.gz", parts / "clusters.tar.gz", holdout, tmp_path, 0.5)


def test_a_file_that_is_not_the_manifests_is_refused(model_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    (folder / "clusters.skops").write_bytes((folder / "clusters.skops").read_bytes() + b"x")
    with pytest.raises(ClientError, match=r"clusters\.skops has SHA-256 .*; the manifest says"):
        Scorer.load(folder)


def test_a_manifest_of_another_schema_is_refused(model_folder, tmp_path):
    (tmp_path / "manifest.json").write_text('{"schema_version": 7}')
    with pytest.raises(ClientError, match="schema_version 7; expected 1"):
        Scorer.load(tmp_path)
    with pytest.raises(ClientError, match=r"there is no .*manifest\.json"):
        Scorer.load(tmp_path / "nowhere")


class TestModelFormat:
    @pytest.fixture
    def skops_io(self):
        """Imported when it is needed: with it come all of scikit-learn and PyTorch."""
        return importlib.import_module("skops.io")

    def test_saving_what_was_loaded_gives_the_same_bytes(self, model_folder, tmp_path):
        loaded = model_format.load_purchase(model_folder / "purchase.skops")
        model_format.save_purchase(tmp_path / "again.skops", loaded)
        assert (tmp_path / "again.skops").read_bytes() == (model_folder / "purchase.skops").read_bytes()

    def test_a_loaded_clustering_answers_as_the_saved_one(self, model_folder, tmp_path):
        model = model_format.load_clusters(model_folder / "clusters.skops")
        model_format.save_clusters(tmp_path / "again.skops", model)
        again = model_format.load_clusters(tmp_path / "again.skops")
        np.testing.assert_array_equal(again.centres, model.centres)

    def test_no_pickle_is_inside(self, model_folder):
        with zipfile.ZipFile(model_folder / "purchase.skops") as archive:
            assert {name.rsplit(".", 1)[1] for name in archive.namelist()} == {"npy", "json"}
            for name in archive.namelist():
                if name.endswith(".npy"):
                    np.load(io.BytesIO(archive.read(name)), allow_pickle=False)

    def test_a_file_that_asks_for_code_is_refused(self, skops_io, tmp_path):
        skops_io.dump({"classifier": functools.partial(os.system, "true")}, tmp_path / "evil.skops")
        with pytest.raises(ClientError, match=r"evil\.skops is refused.*system"):
            model_format.load_purchase(tmp_path / "evil.skops")

    @pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 torn"])
    def test_a_broken_file_is_named(self, tmp_path, content):
        (tmp_path / "broken.skops").write_bytes(content)
        with pytest.raises(ClientError, match=r"broken\.skops is no readable model"):
            model_format.load_clusters(tmp_path / "broken.skops")

    def test_one_part_is_not_taken_for_the_other(self, model_folder):
        with pytest.raises(ClientError, match="holds no clustering"):
            model_format.load_clusters(model_folder / "purchase.skops")
        with pytest.raises(ClientError, match="holds no purchase model"):
            model_format.load_purchase(model_folder / "clusters.skops")

    def test_only_the_trees_are_trusted_beyond_skops_own_list(self, skops_io, model_folder):
        found = skops_io.get_untrusted_types(file=model_folder / "purchase.skops")
        assert set(found) == set(model_format.TRUSTED)
        assert skops_io.get_untrusted_types(file=model_folder / "clusters.skops") == []


def test_an_archive_that_leads_out_of_its_folder_is_refused(tmp_path):
    evil = tmp_path / "evil.tar.gz"
    with tarfile.open(evil, "w:gz") as tar:
        entry = tarfile.TarInfo("../outside")
        tar.addfile(entry, io.BytesIO())
    with pytest.raises(ClientError, match=r"evil\.tar\.gz could not be unpacked: OutsideDestinationError"):
        archives.extract(evil, tmp_path / "inside")
    assert not (tmp_path / "outside").exists()
