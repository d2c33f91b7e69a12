"""The agreement between supervisor and learner process: cells, commands, answers, scores."""
