"""The agreement between the supervisor and a learner process: what a cell is, asks and scores."""
