"""A conversation that outgrows the model: whose doing that is depends on who talked."""

from salvo_core.errors import ContextFull
from tests.unit.trial.builders import Talk, call


class Forgetful(Talk):
    """A talk whose model has no room left for the turn ``full_at``."""

    def __init__(self, turns, full_at):
        super().__init__(turns)
        inner = self.adapter.send_turn

        async def send_turn(messages, tools, config):
            if config.turn == full_at:
                raise ContextFull("maximum context length is 4096 tokens", input_tokens=7)
            return await inner(messages, tools, config)

        self.adapter.send_turn = send_turn


async def test_an_agent_that_talks_until_the_context_is_full_is_graded_on_what_there_is():
    said = await Forgetful([call(), call(), {"text": "done"}], full_at=2).had()
    assert said.outcome == "context_full"
    assert said.error is None
    assert len(said.turns) == 2
    assert said.usage.input_tokens == 200 + 7  # the refused exchange was billed, so it counts


async def test_a_prompt_that_does_not_fit_at_all_is_not_the_agents_doing():
    said = await Forgetful([{"text": "done"}], full_at=0).had()
    assert said.outcome == "infra_error"
    assert said.error.kind == "context_full"
