"""`rlpipe ui`: a page on this machine over the same API that `rlpipe` and programs use.

`server` composes the routes of `runs` and `policies`, `guard` keeps other pages out, `watched` looks at runs once for
everybody who has them open, `play` lets a policy act in its environment. Nothing is decided here: what a run may be
told, and what became of it, the API says.
"""
