"""Text, roles and colours of what is shown; tables as plain values."""
