"""The `polysense` command: parse, call the API, print. Nothing here knows how anything is done."""
