"""validation/report.html: one page that says what was trained, how it went and why it passed or not.

`page` puts it together, `curves` makes its charts' documents, `advice` what to try after a policy that did not pass.
`charts/` draws; `rlpipe ui` shows its charts with it too.
"""
