"""The summary of `hanhtrinh run`: what this run did, beside what earlier ones left in the same database."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO

from hanhtrinh.everything import Progress
from hanhtrinh.run_summary import Counts, RunSummary, counts_seen, print_summary
from storage.connect import Connection


async def add_violation(connection: Connection, violation_id: str, kind: str) -> None:
    await connection.execute(
        "INSERT INTO violations (violation_id, kind, rule_pack, rule_id, rule_version, grade, status, started_at,"
        " ended_at, duration_s, judged_by, evidence)"
        " VALUES (%s, %s, 'vn', 'r', '1', 'review', 'open', now(), now(), 0, '{}', '{}')",
        (violation_id, kind),
    )
    await connection.execute(
        "INSERT INTO violation_revisions (violation_id, revision, change, why) VALUES (%s, 1, 'opened', 'a test')",
        (violation_id,),
    )


async def withdraw(connection: Connection, violation_id: str) -> None:
    await connection.execute(
        "UPDATE violations SET status = 'withdrawn', withdrawn_at = clock_timestamp() WHERE violation_id = %s",
        (violation_id,),
    )


def shown(counts: Counts) -> list[str]:
    out = StringIO()
    with redirect_stdout(out):
        print_summary(counts)
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


async def test_a_violation_of_an_earlier_run_that_is_withdrawn_takes_none_away_from_this_one(
    connection: Connection, postgres_url: str
) -> None:
    for violation_id in ("old-1", "old-2", "old-3"):
        await add_violation(connection, violation_id, "continuous_driving")
    summary = await RunSummary.begin(postgres_url)
    await add_violation(connection, "new-1", "continuous_driving")
    await withdraw(connection, "old-1")
    await withdraw(connection, "old-2")
    counts = await summary.counts(postgres_url)
    assert counts["violations"] == {"continuous_driving": 1}
    assert counts["withdrawn"] == {"continuous_driving": 2}
    said = shown(counts)
    assert "violations: continuous driving 1" in said
    assert "violations withdrawn: continuous driving 2" in said


async def test_what_became_less_is_not_counted_against_this_run(connection: Connection, postgres_url: str) -> None:
    await connection.execute(
        "INSERT INTO dead_letters (dead_letter_id, log_id, partition, log_offset, topic, received_at, reason, detail,"
        " payload) VALUES ('d', 'l', 0, 0, 't', now(), 'bad_json', '', '')"
    )
    summary = await RunSummary.begin(postgres_url)
    await connection.execute("DELETE FROM dead_letters")
    counts = await summary.counts(postgres_url)
    assert counts == {
        "fixes": {}, "dead_letters": {}, "violations": {}, "withdrawn": {}, "alerts": {}, "deliveries": {},
    }  # fmt: skip


def test_without_the_database_the_summary_is_what_the_process_has_seen_and_nothing_else() -> None:
    progress = Progress(7, 5, 2, {("speeding", "opened"): 3, ("speeding", "closed"): 1})
    said = shown(counts_seen(progress))
    for line in ("fixes: stored 5", "dead letters: of any reason 2", "violations: speeding 3"):
        assert line in said
    assert "alerts" not in said
