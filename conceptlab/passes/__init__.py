"""Running a network and changing, replaying or differentiating it on the way."""
