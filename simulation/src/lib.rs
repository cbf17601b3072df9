//! Whole systems in virtual time. All code is in `tests/`: none of it is part of a release.
