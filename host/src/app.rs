//! The only wiring: loads plugins and configuration, starts the workers and the scheduler, and stops them again.

mod bench;
mod deadman;
mod heartbeat;
mod host;
mod load;
mod lock;
mod managed;
mod otlp;
mod probe;
mod punctual;
mod reload;
mod rollback;
mod room;
mod supervisor;
mod tenants;
mod traces;
mod trial;
mod verify;
mod watch;
mod wrong;

pub use bench::{Measured, Runs, Spread, bench};
pub use host::{Host, Listen, Plan, Summary, run};
pub use load::{Places, Prepared, inspect, load_for_inspection, prepare};
pub use lock::{Survey, survey};
pub use probe::{Probed, Refused, probe_monitor, probe_plugin};
pub use room::{is_short, needed};
pub use tenants::{Amounts, Figures, figures, shown_age};
pub use traces::Traces;
pub use trial::{MEMORY_BYTES_MAX, Ran, Trial};
pub use verify::{Check, verify};
pub use wrong::{Wrong, tenants_json, tenants_text};
