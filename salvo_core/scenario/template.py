"""What ``salvo init`` writes: a small project that validates and runs without any key.

Contents only; which files may be overwritten is the command's business.
"""

from __future__ import annotations

from collections.abc import Mapping

from salvo_core.scenario.project import FILE_NAME, STATE_NAME

_PROJECT = """\
# Settings of this project; everything is optional. Keys of providers do not belong here:
# workers read them from their environment (OPENAI_API_KEY, ANTHROPIC_API_KEY, ...).

# The model of scenarios that name none:
#default_model: gpt-4o-mini

scenarios_dir: scenarios

# A fleet instead of this machine alone:
#redis_url: rediss://redis.example.com:6379/0
#store_url: s3://my-bucket/salvo

# Any server that speaks like OpenAI (vLLM, Ollama, a gateway), under a name that scenarios
# give as their adapter:
#providers: {local: {adapter: openai, base_url: "http://127.0.0.1:11434/v1"}}
"""

_SCENARIO = """\
description: The agent looks an order up before it answers
tags: {kind: example}

# `scripted` plays the script at the end of this file: it needs no key and costs nothing.
# For a real model set OPENAI_API_KEY, write these two lines instead, and remove `script`:
#   adapter: openai
#   model: gpt-4o-mini
adapter: scripted
model: scripted-example

system_prompt: >-
  You answer customers of a small shop. Look an order up before you say anything about it.
prompt: Where is my order A-1001?

tools:
  - !include ../tools/example_tool.yaml

assertions:
  # It called the tool. Failing a required assertion fails the trial, whatever its score.
  - {type: tool_called, tool: lookup_order, required: true}
  # Its answer says where the order is (weighs twice as much as the others).
  - {contains: Bergen, weight: 2}
  # It did not go round in circles.
  - {path: metadata.turn_count, lte: 4}

threshold: 0.8
max_turns: 6

script:
  turns:
    - tool_calls: [{name: lookup_order, arguments: {order_id: A-1001}}]
    - text: Your order A-1001 left our warehouse in Bergen yesterday.
"""

_TOOL = """\
name: lookup_order
description: Find an order by its number
parameters:
  properties:
    order_id: {type: string, description: For example A-1001}
  required: [order_id]

# What the agent gets to see. The first rule that fits the call answers it ...
mocks:
  - match: {order_id: A-1001}
    response: {order_id: A-1001, status: shipped, warehouse: Bergen}
# ... and any other call gets this.
mock_response: {error: no such order}
"""

FILES: Mapping[str, str] = {
    FILE_NAME: _PROJECT,
    "scenarios/example.yaml": _SCENARIO,
    "tools/example_tool.yaml": _TOOL,
}
"""Text of every file by its path below the project folder."""

GITIGNORE_LINE = f"{STATE_NAME}/"
"""What ``.gitignore`` has to hold: the state of runs is not for version control."""
