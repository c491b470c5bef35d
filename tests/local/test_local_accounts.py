"""Local HealthOmics tells accounts and regions apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import ONE_TRY, ROLE, World
from test_local import code

from airflow_omics.local import LocalHealthOmics

OTHER = "210987654321"
SOURCE = World.source("s3://in-london/reads.fastq")


@pytest.fixture
def local() -> Iterator[LocalHealthOmics]:
    with LocalHealthOmics(job_seconds=100, calls_per_second=None, accounts={"theirs": OTHER}) as started:
        yield started
        started.reset()


def client(local: LocalHealthOmics, key: str = "key", region: str = "us-east-1", service: str = "omics") -> Any:
    return local.client(service, access_key=key, region_name=region, **ONE_TRY)


def stores(omics: Any) -> list[str]:
    return [each["id"] for each in omics.list_sequence_stores()["sequenceStores"]]


def message(local: LocalHealthOmics, omics: Any, kind: str, store: str, sources: list[Any], **arguments: str) -> str:
    """Run a job of one item to its end, check that it failed, and return the item's message."""
    start = getattr(omics, f"start_read_set_{kind}_job")
    job = start(sequenceStoreId=store, sources=sources, roleArn=ROLE, **arguments)
    local.advance(100)
    done = getattr(omics, f"get_read_set_{kind}_job")(sequenceStoreId=store, id=job["id"])
    (item,) = done["readSets" if kind == "export" else "sources"]
    assert (done["status"], item["status"]) == ("FAILED", "FAILED")
    return str(item["statusMessage"])


# --- what is whose


@pytest.mark.parametrize(("key", "region"), [("key", "eu-west-2"), ("theirs", "us-east-1")], ids=["region", "account"])
def test_what_is_elsewhere_is_not_found_and_not_listed(local: LocalHealthOmics, key: str, region: str) -> None:
    here, elsewhere = client(local), client(local, key, region)
    store = here.create_sequence_store(name="mine")["id"]
    (read_set,) = local.add_read_sets(store)
    sources = [{"readSetId": read_set}]
    job = here.start_read_set_activation_job(sequenceStoreId=store, sources=sources)["id"]
    missing = "ResourceNotFoundException"
    assert code(elsewhere.get_sequence_store, id=store) == missing
    assert code(elsewhere.delete_sequence_store, id=store) == missing
    assert code(elsewhere.list_read_sets, sequenceStoreId=store) == missing
    assert code(elsewhere.get_read_set_metadata, sequenceStoreId=store, id=read_set) == missing
    assert code(elsewhere.get_read_set_activation_job, sequenceStoreId=store, id=job) == missing
    assert code(elsewhere.start_read_set_activation_job, sequenceStoreId=store, sources=sources) == missing
    assert (stores(here), stores(elsewhere)) == ([store], [])
    theirs = elsewhere.create_sequence_store(name="theirs")["id"]
    assert (stores(here), stores(elsewhere)) == ([store], [theirs])


def test_arns_name_the_account_and_the_region(local: LocalHealthOmics) -> None:
    for key, region, place in [
        ("key", "us-east-1", "aws:omics:us-east-1:123456789012"),
        ("key", "eu-west-2", "aws:omics:eu-west-2:123456789012"),
        ("theirs", "us-gov-west-1", f"aws-us-gov:omics:us-gov-west-1:{OTHER}"),
    ]:
        omics = client(local, key, region)
        store = omics.create_sequence_store(name="mine")
        assert store["arn"] == f"arn:{place}:sequenceStore/{store['id']}"
        (read_set,) = local.add_read_sets(store["id"])
        metadata = omics.get_read_set_metadata(sequenceStoreId=store["id"], id=read_set)
        assert metadata["arn"] == f"{store['arn']}/readSet/{read_set}"


def test_any_key_belongs_to_the_default_account(local: LocalHealthOmics) -> None:
    store = client(local, "one").create_sequence_store(name="mine")["id"]
    assert stores(client(local, "another")) == [store]
    assert stores(local.client()) == [store]
    assert client(local, "one", service="sts").get_caller_identity()["Account"] == "123456789012"


def test_a_key_is_given_to_an_account_and_taken_back(local: LocalHealthOmics) -> None:
    store = client(local).create_sequence_store(name="mine")["id"]
    local.configure(accounts={"key": OTHER})
    assert stores(client(local)) == []
    local.configure(accounts={})
    assert stores(client(local)) == [store]
    for wrong in ({"key": "1234"}, {"key": None}, {1: OTHER}, "key", None):
        with pytest.raises(ValueError, match=r"accounts is .* expected"):
            local.configure(accounts=wrong)


def test_s3_and_sts_know_the_same_accounts(local: LocalHealthOmics) -> None:
    assert client(local, "theirs", service="sts").get_caller_identity()["Account"] == OTHER
    client(local, "theirs", service="s3").create_bucket(Bucket="of-theirs")
    assert client(local, service="s3").list_buckets()["Buckets"] == []


def test_the_key_of_an_assumed_role_belongs_to_the_roles_account(local: LocalHealthOmics) -> None:
    role = f"arn:aws:iam::{OTHER}:role/Reader"
    given = client(local, service="sts").assume_role(RoleArn=role, RoleSessionName="tests")["Credentials"]
    store = client(local, given["AccessKeyId"]).create_sequence_store(name="theirs")
    assert f":{OTHER}:" in store["arn"]
    assert stores(client(local, "theirs")) == [store["id"]]
    assert stores(client(local)) == []


# --- limits, tokens and controls


def test_quotas_and_rates_are_an_accounts_and_a_regions_own(local: LocalHealthOmics) -> None:
    local.configure(max_concurrent_jobs={"activation": 1}, calls_per_second=1)
    places = [client(local), client(local, region="eu-west-2"), client(local, "theirs")]
    homes = [(omics, omics.create_sequence_store(name="mine")["id"]) for omics in places]
    activation = {"sources": [{"readSetId": "1234567890"}]}
    for omics, store in homes:
        omics.start_read_set_activation_job(sequenceStoreId=store, **activation)
    start = homes[0][0].start_read_set_activation_job
    assert code(start, sequenceStoreId=homes[0][1], **activation) == "ThrottlingException"
    local.configure(calls_per_second=None)
    for omics, store in homes:
        start = omics.start_read_set_activation_job
        assert code(start, sequenceStoreId=store, **activation) == "ServiceQuotaExceededException"


def test_a_client_token_is_an_accounts_and_a_regions_own(local: LocalHealthOmics) -> None:
    here = client(local).create_sequence_store(name="mine", clientToken="once")["id"]
    assert client(local, region="eu-west-2").create_sequence_store(name="mine", clientToken="once")["id"] != here
    assert client(local, "theirs").create_sequence_store(name="mine", clientToken="once")["id"] != here


def test_controls_go_by_id_in_all_places(local: LocalHealthOmics) -> None:
    omics = client(local, "theirs", "eu-west-2")
    store = omics.create_sequence_store(name="theirs")["id"]
    read_sets = local.add_read_sets(store, 2)
    assert local.archive_read_sets(read_sets[:1]) == read_sets[:1]
    assert local.archive_read_sets() == read_sets[1:]
    job = omics.start_read_set_activation_job(sequenceStoreId=store, sources=[{"readSetId": read_sets[0]}])["id"]
    local.cancel_job(job)
    assert omics.get_read_set_activation_job(sequenceStoreId=store, id=job)["status"] == "CANCELLING"


# --- buckets of other regions


def bucket_in_london(local: LocalHealthOmics) -> None:
    s3 = client(local, region="eu-west-2", service="s3")
    s3.create_bucket(Bucket="in-london", CreateBucketConfiguration={"LocationConstraint": "eu-west-2"})
    s3.put_object(Bucket="in-london", Key="reads.fastq", Body=b"@read\nA\n+\nI\n")


def test_a_bucket_of_another_region_fails_the_item(local: LocalHealthOmics) -> None:
    bucket_in_london(local)
    omics = client(local)
    store = omics.create_sequence_store(name="mine")["id"]
    (read_set,) = local.add_read_sets(store)
    said = "bucket in-london is in eu-west-2, not in the store's region us-east-1"
    sources = [{"readSetId": read_set}]
    assert said in message(local, omics, "export", store, sources, destination="s3://in-london/out/")
    assert said in message(local, omics, "import", store, [SOURCE])
    found = client(local, region="eu-west-2", service="s3").list_objects_v2(Bucket="in-london")
    assert [each["Key"] for each in found["Contents"]] == ["reads.fastq"]


@pytest.mark.parametrize("key", ["key", "theirs"])
def test_a_bucket_of_the_stores_region_is_read_and_written(local: LocalHealthOmics, key: str) -> None:
    bucket_in_london(local)
    omics = client(local, key, region="eu-west-2")
    store = omics.create_sequence_store(name="mine")["id"]
    omics.start_read_set_import_job(sequenceStoreId=store, roleArn=ROLE, sources=[SOURCE])
    local.advance(100)
    (read_set,) = omics.list_read_sets(sequenceStoreId=store)["readSets"]
    destination = "s3://in-london/out/"
    omics.start_read_set_export_job(
        sequenceStoreId=store, roleArn=ROLE, sources=[{"readSetId": read_set["id"]}], destination=destination
    )
    local.advance(100)
    found = client(local, region="eu-west-2", service="s3").list_objects_v2(Bucket="in-london", Prefix="out/")
    assert [each["Key"] for each in found["Contents"]] == [f"out/{read_set['id']}/reads.fastq"]
