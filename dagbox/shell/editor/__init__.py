"""The line that is typed: prompt, completion, colours, hints, history."""
