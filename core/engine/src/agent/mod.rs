//! The agent half.
