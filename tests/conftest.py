"""What every test shares."""

from hypothesis import settings

# A busy machine is no fault of the code: no test is timed.
settings.register_profile("unnoise", deadline=None)
settings.load_profile("unnoise")
