"""From dropped files to data that can be learned from: read, checked, split, described.

`files` opens a file of any format as a `source`, frames of raw columns; `fields` says what a row must have, `rows`
checks one row at a time, `episodes` what only a whole episode shows, `transitions` and `tables` lead through it,
`isolation` does all of it in a process that a damaged file may kill.
"""
