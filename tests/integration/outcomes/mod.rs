//! What executions come to: every class of outcome, provoked by a real guest.

mod classes;
