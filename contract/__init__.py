"""What the rooms of this project say to each other.

`run` is the file a user writes, `layout` where things lie in S3, `outcomes` how a run can end, `events`
what the containers print, `policy` what is served, `catalogue` which environments and algorithms the
training image has. Nothing here imports anything else of this project.
"""
