//! Rules of this side, one by one.
