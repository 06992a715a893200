"""`rlpipe`: one command line for laptop and account. An endpoint URL is the whole difference.

`main` composes the commands of `commands/`; `deployment` finds what they talk to. Below them `runs`, `history`,
`jobs` and `artifacts` read AWS, `progress` and `watch` put the readings together, `display` and `narrate` show them.
"""
