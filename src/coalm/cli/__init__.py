"""The command `coalm`: one file per sub-command, each importing its feature when it is called."""
