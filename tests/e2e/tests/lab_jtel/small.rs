//! "Small V2".
