// Nothing to call: it is preloaded (FakeClock.swift).
