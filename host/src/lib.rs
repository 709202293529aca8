//! pulse-host.
