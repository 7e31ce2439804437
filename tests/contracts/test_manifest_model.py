"""The manifest against a model of it: any order of calls, and after each one both say the same."""

import asyncio

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from salvo_core.errors import UsageError
from salvo_core.manifest import keys
from salvo_core.manifest.claims import Claim, Committed, Refusal
from salvo_core.manifest.connection import connect
from salvo_core.manifest.live import Manifest
from salvo_core.manifest.repairs import Reopening, Repairs, Restatement
from salvo_core.manifest.rows import TERMINAL, Row
from salvo_core.trace.model import EarlierAttempt, Vote
from tests.contracts.manifest_runs import Run, check_counters, turn

pytestmark = pytest.mark.servers

EXAMPLES = 40
TOTAL = 3
CELLS = 2
TOTAL_MAX = TOTAL + CELLS
"""Of a run that was extended."""
ATTEMPTS_MAX, CRASHES_MAX = 3, 2
indices = st.integers(0, TOTAL_MAX - 1)
workers = st.sampled_from(["w1", "w2"])
ends = st.sampled_from(["passed", "failed", "hard_fail", "infra_error", "cancelled"])


class Machine(RuleBasedStateMachine):
    """One run on the server, and beside it what ``lua/`` promises, in plain Python."""

    url = ""

    def __init__(self):
        super().__init__()
        self.loop = asyncio.Runner()
        self.manifest = Manifest(connect(self.url), self.url)
        self.repairs = Repairs(self.manifest)

    def do(self, coroutine):
        return self.loop.run(coroutine)

    @initialize(
        window=st.none() | st.integers(1, 2),
        seeded=st.sampled_from([0, 1, TOTAL, TOTAL, TOTAL]),
        begins=st.sampled_from(["new", "new", "over", "sealed"]),
        status=ends,
    )
    def open(self, window, seeded, begins, status):
        self.window = window
        self.total = TOTAL
        self.looked_at = {}  # index -> the row's own text and what it says, as somebody read it once
        self.run = Run(self.manifest, total=TOTAL, attempts_max=ATTEMPTS_MAX, window=window)
        assert self.do(self.run.open())
        self.state = "submitting"
        self.at_once = False
        self.rows = {}  # index -> [status, attempt, worker]
        self.strikes = {}
        self.struck = {}  # (index, attempt) whose end struck it -> strikes before, whether it was a suspect
        self.suspects = {}  # index -> the worker that holds it although a worker vanished over it
        self.blamed = set()  # workers of whose end a suspect is the explanation
        self.journals = {}
        self.votes = {}  # index -> {(question, number): what was said first}
        self.released = 0
        self.again = set()  # reopened trials whose messages are still to be sent, behind the cursor
        self.claims = []  # every claim that was ever given out, dead ones too
        if seeded:  # most runs begin in the middle, where most can happen
            self.seed(0, seeded)
            self.submitted()
            self.release_some(TOTAL)
        if begins != "new":
            self.seed(0, TOTAL)
            self.submitted()
            self.end_everything(status)
        if begins == "sealed":
            self.seal()

    # -- the model's own words ------------------------------------------------------------------

    @property
    def ended(self):
        return sum(row[0] in TERMINAL for row in self.rows.values())

    def is_last(self):
        if self.ended < self.total:
            return False
        self.state = "finished"
        return True

    def holds(self, claim):
        return self.rows[claim.index] == ["running", claim.attempt, claim.worker]

    @property
    def ahead(self):
        return sum(row[0] == "skipped" for index, row in self.rows.items() if index >= self.released)

    def release(self, most):
        """Move the cursor over rows that want running, and over any that were skipped before them.

        Those that wait again go first, and take a place of the window, if there is one, as others do.
        """
        if self.window:
            under_way = self.released - (self.ended - self.ahead) - len(self.again)
            most = min(most, self.window - under_way)
        behind = sorted(self.again)[: max(0, most)]
        self.again -= set(behind)
        most -= len(behind)
        found = []
        while len(found) < most and self.released < len(self.rows):
            if self.rows[self.released][0] != "skipped":
                found.append(self.released)
            self.released += 1
        return behind + found

    def let_cursor_stand_at(self, rows):
        if self.state in ("finished", "sealed"):
            self.released = rows

    def acquit(self, index):
        self.strikes.pop(index, None)
        self.suspects.pop(index, None)

    def strike(self, index, attempt, worker):
        """One of a silent worker's trials: the suspect takes the blame, where there is one."""
        strikes = self.strikes.get(index, 0) + 1
        told = (strikes - 1, index in self.suspects)
        if index in self.suspects:
            del self.suspects[index]
            if strikes >= CRASHES_MAX:  # a worker holds no two of so few suspects
                strikes = max(strikes, ATTEMPTS_MAX)
            self.blamed.add(worker)
        elif worker in self.blamed or worker in self.suspects.values():
            return
        self.strikes[index] = strikes
        self.struck[index, attempt] = told

    def take_back(self, claim):
        """A worker whose lease ended unheard speaks before anybody else has begun its trial."""
        before, suspect = self.struck.get((claim.index, claim.attempt), (None, False))
        if suspect and claim.worker in self.suspects.values():
            return
        self.struck.pop((claim.index, claim.attempt), None)
        self.rows[claim.index][0] = "running"
        self.blamed.discard(claim.worker)
        if before is not None:
            self.set_strikes(claim.index, before)
        if suspect:
            self.suspects[claim.index] = claim.worker

    def excuse(self, claim):
        """It speaks after somebody else has begun its trial: it has not crashed."""
        strikes, told = self.strikes.get(claim.index, 0), self.struck.pop((claim.index, claim.attempt), None)
        if told is None or not strikes:
            return
        self.set_strikes(claim.index, strikes - 1)
        if strikes == 1:
            self.suspects.pop(claim.index, None)

    def set_strikes(self, index, strikes):
        self.strikes.pop(index, None)
        if strikes:
            self.strikes[index] = strikes

    # -- what may happen, in any order ----------------------------------------------------------

    @precondition(lambda self: len(self.rows) < self.total)
    @rule(start=indices, size=st.integers(1, TOTAL))
    def seed(self, start, size):
        if start > len(self.rows):
            return  # nobody seeds beyond a gap
        stop = min(start + size, self.total)
        made = [index for index in range(start, stop) if index not in self.rows]
        assert self.do(self.run.seed(start, stop)) == len(made)
        self.rows |= {index: ["pending", 0, ""] for index in made}

    @precondition(lambda self: self.released < self.total)
    @rule(most=st.integers(0, TOTAL))
    def release_some(self, most):
        expected = self.release(most) if self.state in ("submitting", "running") else range(0)
        assert list(self.do(self.manifest.release(self.run.id, most))) == list(expected)

    @precondition(lambda self: self.state == "submitting")
    @rule()
    def submitted(self):
        if self.state == "submitting" and len(self.rows) == self.total:
            self.state = "running"
        assert self.do(self.manifest.submitted(self.run.id)) == self.state

    @rule(index=indices, worker=workers)
    def claim(self, index, worker):
        answer = self.do(self.run.claim(index, worker))
        row = self.rows.get(index)
        if row is None:
            expected = Refusal("unknown")
        elif row[0] == "running" and row[2] != worker:
            expected = Refusal("held")
        elif row[0] in TERMINAL:
            expected = Refusal("done")
        elif (self.state == "paused" and row[0] != "running") or (
            row[0] == "pending" and index in self.again
        ):
            expected = Refusal("paused")
        elif self.state == "cancelling" and row[1] == 0:
            row[0] = "cancelled"
            expected = Refusal("cancelled", run_finished=self.is_last())
        else:
            strikes, purpose = self.strikes.get(index, 0), "run"
            again = row[0] == "running"  # the answer to its first question may have been lost
            if again:
                self.suspects.pop(index, None)
            if self.state == "cancelling":
                purpose = "close_cancelled"
            elif strikes >= ATTEMPTS_MAX + 2:
                purpose = "close_unread"
            elif strikes >= ATTEMPTS_MAX:
                purpose = "close_lost"
            elif strikes and not again and worker in self.suspects.values():
                assert answer == Refusal("suspect")
                return
            elif strikes:
                self.suspects[index] = worker
            self.blamed.discard(worker)
            self.rows[index] = ["running", row[1] + 1, worker]
            expected = Claim(self.run.id, index, self.run.trace_id(index), worker, row[1] + 1, purpose)
            self.claims.append(expected)
        assert answer == expected

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), status=ends)
    def commit(self, data, status):
        self.end(data.draw(st.sampled_from(self.claims)), status)

    def end(self, claim, status):
        committed = self.do(self.run.commit(claim, status))
        if not self.holds(claim):
            if self.rows[claim.index][:2] == [status, claim.attempt]:  # heard before, and answered again
                assert (committed.won, committed.run_finished) == (True, self.state == "finished")
                released = self.release(self.total) if self.window and self.state == "running" else range(0)
                assert list(committed.release) == list(released)
            else:
                assert committed == Committed(won=False)
            return
        self.rows[claim.index] = [status, claim.attempt, ""]
        self.acquit(claim.index)
        self.journals.pop(claim.index, None)
        self.votes.pop(claim.index, None)
        last = self.is_last()
        released = self.release(self.total) if self.window and self.state == "running" else range(0)
        assert (committed.won, committed.run_finished) == (True, last)
        assert list(committed.release) == list(released)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def journal(self, data):
        claim = data.draw(st.sampled_from(self.claims))
        kept = self.journals.get(claim.index, 0)
        number = data.draw(st.integers(max(0, kept - 1), kept + 1))
        holds = self.holds(claim)
        assert bool(self.do(self.manifest.journal(claim, turn(number)))) == holds
        if holds and number == kept:
            self.journals[claim.index] = kept + 1
            self.acquit(claim.index)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), question=st.sampled_from(["q1", "q2"]), number=st.integers(0, 2))
    def vote(self, data, question, number):
        claim = data.draw(st.sampled_from(self.claims))
        holds = self.holds(claim)
        said = f"{claim.worker} in attempt {claim.attempt}"
        given = Vote(number=number, raw=said)
        assert bool(self.do(self.manifest.vote(claim, question, given))) == holds
        if holds:
            votes = self.votes.setdefault(claim.index, {})
            if (question, number) not in votes:
                votes[question, number] = said
                self.acquit(claim.index)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def give_back(self, data):
        claim = data.draw(st.sampled_from(self.claims))
        holds = self.holds(claim)
        assert self.do(self.manifest.give_back(claim)) == holds
        if holds:
            self.rows[claim.index] = ["pending", claim.attempt, ""]
            self.suspects.pop(claim.index, None)

    @precondition(lambda self: self.claims)
    @rule(worker=workers)
    def renew(self, worker):
        newest = {claim.index: claim for claim in self.claims if claim.worker == worker}
        if not newest:
            return
        for index, claim in newest.items():
            row = self.rows[index]
            if row == ["pending", claim.attempt, claim.worker]:  # expired, and nobody has begun it since
                self.take_back(claim)
            elif row[0] == "running" and claim.attempt < row[1] <= 3 * ATTEMPTS_MAX:
                self.excuse(claim)
        renewal = self.do(self.manifest.renew(worker, newest.values(), lease_s=30))[self.run.id]
        assert renewal.lost == {index for index, claim in newest.items() if not self.holds(claim)}
        at_once = self.state == "cancelling" and self.at_once
        assert renewal.state == ("cancelling_at_once" if at_once else self.state)

    @precondition(lambda self: any(row[0] == "running" for row in self.rows.values()))
    @rule(data=st.data())
    def expire(self, data):
        running = [index for index, row in self.rows.items() if row[0] == "running"]
        silent = data.draw(st.sets(st.sampled_from(running)))
        self.do(self.run.silence(*silent))
        assert set(self.do(self.manifest.expire(self.run.id))) == silent
        for index in sorted(silent):
            self.strike(index, self.rows[index][1], self.rows[index][2])
            self.rows[index][0] = "pending"  # it still names its worker

    @rule()
    def pause(self):
        pausable = self.state in ("submitting", "running")
        assert self.do(self.manifest.pause(self.run.id)) == pausable
        if pausable:
            self.state = "paused"

    @precondition(lambda self: self.state != "running")
    @rule()
    def unpause(self):
        paused = self.state == "paused"
        assert self.do(self.manifest.unpause(self.run.id)) == paused
        if paused:
            self.state = "running" if len(self.rows) == self.total else "submitting"

    @rule(at_once=st.booleans())
    def cancel(self, at_once):
        changed = self.state in ("submitting", "running", "paused")
        if changed:
            self.state = "cancelling"
            self.again.clear()
        elif self.state == "cancelling" and at_once:
            changed = not self.at_once
        if self.state == "cancelling" and at_once:
            self.at_once = True
        assert self.do(self.manifest.cancel(self.run.id, at_once=at_once)) == (changed, self.state)

    @precondition(lambda self: self.state == "cancelling")
    @rule(start=indices, size=st.integers(1, TOTAL))
    def cancel_rows(self, start, size):
        never_begun = [
            index
            for index in range(start, start + size)
            if self.rows.get(index, ["", 0])[:2] == ["pending", 0]
        ]
        answer = self.do(self.manifest.cancel_rows(self.run.id, start, start + size))
        for index in never_begun:
            self.rows[index][0] = "cancelled"
        assert answer == (len(never_begun), bool(never_begun) and self.is_last())

    @precondition(lambda self: self.rows)
    @rule(first=indices, trials=st.integers(1, TOTAL))
    def skip_rows(self, first, trials):
        skippable = self.state in ("submitting", "running", "paused")
        step = range(first, first + trials * CELLS, CELLS)
        never_begun = [
            index for index in step if skippable and self.rows.get(index, ["", 0])[:2] == ["pending", 0]
        ]
        answer = self.do(self.manifest.skip_rows(self.run.id, step, "decided"))
        for index in never_begun:
            self.rows[index][0] = "skipped"
        last = bool(never_begun) and self.is_last()
        released = self.release(self.total) if never_begun and self.window and self.state == "running" else []
        assert (answer.ended, answer.run_finished) == (len(never_begun), last)
        assert answer.seeded == (len(self.rows) if skippable else self.total)
        assert list(answer.release) == list(released)

    @precondition(lambda self: self.ended == len(self.rows))
    @rule()
    def seal(self):
        sealable = self.state in ("finished", "sealed")
        assert self.do(self.manifest.sealed(self.run.id, "PASS", 0)) == sealable
        if sealable:
            self.state = "sealed"
            self.strikes, self.struck, self.suspects, self.blamed = {}, {}, {}, set()

    @rule(trials=st.integers(0, 1))
    def extend(self, trials):
        total = TOTAL + trials * CELLS
        expected = None if self.state == "cancelling" else total > self.total
        assert self.do(self.manifest.extend(self.run.id, total)) is expected
        if expected:
            self.let_cursor_stand_at(self.total)
            self.total = self.run.total = total
            self.at_once = False
            self.state = "paused" if self.state == "paused" else "submitting"

    @precondition(lambda self: self.rows and self.state != "paused")
    @rule(status=ends)
    def end_everything(self, status):
        """All that there is comes to its end, so that what happens to runs that are over happens here."""
        for index in list(self.rows):
            self.claim(index, "w3" if self.rows[index][0] == "pending" else self.rows[index][2])
            if self.claims and self.holds(self.claims[-1]) and self.claims[-1].index == index:
                self.end(self.claims[-1], status)

    def line(self, index):
        async def found():
            return [line async for _, line in self.repairs.lines_of(self.run.id, [index])]

        return self.do(found())[0]

    @precondition(lambda self: self.ended)
    @rule(
        data=st.data(),
        now=st.sampled_from([True, True, False]),
        turns=st.integers(0, 2),
        votes=st.integers(0, 1),
    )
    def reopen(self, data, now, turns, votes):
        """What somebody read, now or a while ago, is to be tried again."""
        over = [index for index, row in self.rows.items() if row[0] in TERMINAL - {"skipped"}]
        if now and over:
            index = data.draw(st.sampled_from(over))
            self.looked_at[index] = self.line(index)
        if not self.looked_at:
            return
        index = index if now and over else data.draw(st.sampled_from(sorted(self.looked_at)))
        line = self.looked_at[index]
        row = Row.decode(index, line)
        if row.attempt == 0:
            turns = votes = 0  # it never began, so nothing was said in it
        again = Reopening(
            Restatement(index, line, row, Row(index, "pending", row.attempt, row.trace_id)),
            (EarlierAttempt(attempt=row.attempt, worker="w1", how="retried", at_ms=1),),
            tuple(turn(number) for number in range(turns)),
            tuple(("q1", Vote(number=number, raw="said before")) for number in range(votes)),
        )
        same = self.line(index) == line
        if same and self.state == "cancelling":
            with pytest.raises(UsageError, match="being cancelled"):
                self.do(self.repairs.reopen(self.run.id, again, CELLS))
            return
        assert self.do(self.repairs.reopen(self.run.id, again, CELLS)) == same
        if not same:
            return
        self.do(self.repairs.look_after(self.run.id, 1))
        self.let_cursor_stand_at(len(self.rows))
        self.rows[index] = ["pending", row.attempt, ""]
        if index < self.released:
            self.again.add(index)
        self.strikes.pop(index, None)
        self.at_once = False
        self.journals[index] = turns
        self.votes[index] = {("q1", number): "said before" for number in range(votes)}
        if self.state in ("finished", "sealed"):
            self.state = "running"

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), more=st.integers(0, 2))
    def reseat(self, data, more):
        """A worker that believes its Redis forgot a trial brings it back; this one forgot nothing."""
        claim = data.draw(st.sampled_from(self.claims))
        kept, holds = self.journals.get(claim.index, 0), self.holds(claim)
        turns = [turn(number) for number in range(kept + more)]
        assert self.do(self.repairs.reseat(claim, turns, lease_s=30)) is holds
        if holds:
            self.journals[claim.index] = kept + more

    @rule(index=indices)
    def tidy(self, index):
        assert not self.do(self.repairs.tidy(self.run.id, index)), "nothing was out of order"

    # -- after each of them ---------------------------------------------------------------------

    @invariant()
    def rows_are_those_of_the_model(self):
        found = {row.index: row for row in self.do(self.run.rows())}
        assert found.keys() == self.rows.keys()
        for index, (status, attempt, worker) in self.rows.items():
            row = found[index]
            assert (row.status, row.attempt, row.worker) == (status, attempt, worker)
            assert row.reason == ("decided" if status == "skipped" else "")
            assert row.trace_id == self.run.trace_id(index)

    @invariant()
    def counters_are_a_recount_of_the_rows(self):
        if self.state != "sealed":  # which drops the leases
            self.do(check_counters(self.run))
        counts = self.do(self.run.counts())
        assert (counts.state, counts.released) == (self.state, self.released)
        assert counts.skipped_ahead == self.ahead
        assert (counts.finished_ms is not None) == (self.state in ("finished", "sealed"))
        assert (counts.started_ms is not None) == bool(self.claims)
        assert counts.claims == len(self.claims)
        if self.state != "sealed":
            strikes = self.do(self.manifest.redis.hgetall(keys.strikes(self.run.id)))
            assert {int(index): int(number) for index, number in strikes.items()} == self.strikes

    @invariant()
    def journals_hold_whole_beginnings(self):
        for index in range(self.total):
            turns = self.do(self.manifest.journaled(self.run.id, index))
            assert [one.index for one in turns] == list(range(self.journals.get(index, 0)))

    @invariant()
    def votes_are_kept_as_they_were_given_first(self):
        for index in range(self.total):
            found = self.do(self.manifest.voted(self.run.id, index))
            assert {name: vote.raw for name, vote in found.items()} == self.votes.get(index, {})

    @invariant()
    def a_run_that_needs_care_is_on_the_list(self):
        listed = self.run.id in self.do(self.manifest.open_runs())
        if self.state in ("submitting", "running", "cancelling", "finished"):
            assert listed
        elif self.state == "sealed":
            assert not listed

    def teardown(self):
        self.do(self.manifest.aclose())
        self.loop.close()


@pytest.mark.timeout(400)  # thousands of questions to a server, on a machine that may be busy
def test_any_order_of_calls_leaves_what_the_model_says(redis_flavour):
    machine = type("OnThisServer", (Machine,), {"url": redis_flavour})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=40,
            deadline=None,
            # Not shrunk: each step asks a server, and a failure is short enough to read as it is.
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
            suppress_health_check=list(HealthCheck),
        ),
    )
