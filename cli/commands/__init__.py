"""The commands of `rlpipe`: each reads its options, asks the modules beside this package and prints."""
