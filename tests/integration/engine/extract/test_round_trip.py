"""What is declared, made and read back is what was declared, whatever it is called."""

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from tests.integration.engine.extract.schemas import schemas
from tests.integration.engine.extract.subject import Subject

from bulkhead.engine.extract.compare import create_missing
from bulkhead.engine.extract.extract import extract


@settings(
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(schemas())
async def test_a_made_up_schema_comes_back_as_it_was_declared(
    subject: Subject, metadata: sa.MetaData
) -> None:
    await subject.empty()
    extracted = extract(metadata, subject.dialect, subject.options)
    made = await create_missing(subject.connection, extracted)
    assert set(made.missing_tables) == set(metadata.tables)
    again = await subject.compare(extracted)
    assert again.is_equal, (again.missing, [str(each) for each in again.differing])
    assert await subject.fingerprint(extracted) == extracted.fingerprint
    assert (await create_missing(subject.connection, extracted)).statements == ()
