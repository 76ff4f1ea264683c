"""The options by which commands are told how a bucket is reached; its secret is none of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bulkhead.cli.options import (
    FILE,
    invalid,
    kind_option,
    parse_body,
    piped_secret,
    read_secret,
    spelled,
    together,
)

if TYPE_CHECKING:
    from bulkhead.apps.store_platform.storage import StorageBody

KINDS = ("aws-s3", "supabase-storage", "google-cloud-storage")
FIELDS = ("bucket", "region", "endpoint", "project_url", "access_key_id")


bucket_options = together(
    kind_option(KINDS, "aws-s3 is whatever speaks its protocol, with an --endpoint."),
    click.option("--bucket", help="What the bucket is called."),
    click.option("--region", help="Where it is, such as eu-central-1."),
    click.option("--endpoint", help="Of what is not Amazon's: https://host[:port][/path]"),
    click.option("--project-url", help="Of a Supabase project, instead of --endpoint."),
    click.option("--access-key-id", help="Whose keys they are."),
    click.option(
        "--secret-file",
        type=FILE,
        help="Read the secret access key, or Google's JSON of a key, from a file.",
    ),
    click.option(
        "--from",
        "file",
        type=FILE,
        help="Read the whole connection from a file, as the API takes it, instead.",
    ),
)
"""How a bucket is reached; its secret is piped in, asked for, or read from a file."""


def bucket_of(options: Mapping[str, Any]) -> StorageBody:
    """The connection that the options of a command mean; asks for the secret.

    Raises click.UsageError for options that are missing, or that contradict each other, Invalid.
    """
    from bulkhead.apps.store_platform.storage import StorageBody

    given = {name: options[name] for name in FIELDS if options[name]}
    if options["file"] is not None:
        if also := [*given, *(["secret_file"] if options["secret_file"] else [])]:
            raise click.UsageError(f"--from says everything, so leave {spelled(also[0])} out")
        return read_bucket(options["file"])
    if "bucket" not in given:
        raise click.UsageError("name the --bucket, or a file with the connection by --from")
    is_google = options["kind"] == "google-cloud-storage"
    needed = () if is_google else ("region", "access_key_id")
    if missing := [spelled(name) for name in needed if name not in given]:
        raise click.UsageError(f"a bucket there needs {', '.join(missing)} besides")
    file = options["secret_file"]
    if is_google:
        given["service_account_key"] = _document(file)
    else:
        given["secret_access_key"] = read_secret(
            file, asked="Secret access key", called="a secret", option="--secret-file"
        )
    return parse_body(StorageBody, {"storage_type": options["kind"], "config": given})


def is_given(options: Mapping[str, Any]) -> bool:
    """Whether the options of a command say anything of a bucket."""
    return any(options[name] for name in (*FIELDS, "secret_file", "file"))


def read_bucket(file: Path) -> StorageBody:
    """The connection that stands in a file, as the API takes it; raises Invalid."""
    from pydantic import ValidationError

    from bulkhead.apps.store_platform.storage import StorageBody

    try:
        return StorageBody.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise invalid(error, of=f"{file.name}: ") from None


def _document(file: Path | None) -> str:
    if file is not None:
        return file.read_text(encoding="utf-8")
    if sys.stdin.isatty():
        raise click.UsageError("the key is a document: name its --secret-file, or pipe it in")
    return piped_secret(sys.stdin.read(), called="a secret", option="--secret-file")
