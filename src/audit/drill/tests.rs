//! What a drill must find, and what it must leave alone.
