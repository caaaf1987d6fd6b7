//! The auditor over a real database: rows that somebody spoilt by hand are found, each for what it is, and healed.
