"""What each agent says and wants to hear. One module per agent: `read(bytes)` -> ToolCall or Notice, `reply(decision, call)` -> Reply."""
