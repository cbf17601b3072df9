//! Whole systems in virtual time. Everything is in `tests/`: nothing of it is part of a release.
