"""The learner process: it trains one learner, times it and answers test episodes."""
